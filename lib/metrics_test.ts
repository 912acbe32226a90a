import { describe, expect, it } from "vitest";
import { type AnyHandler, reserveStock } from "../nats/mod.ts";
import { createMetrics, knownSubjects, observeCommit, observeDelivery, setFindings } from "./metrics.ts";

const handler = { contract: reserveStock } as unknown as AnyHandler;
const subject = reserveStock.subject;

/** Samples by name and labels, without the service's. */
async function read(metrics: ReturnType<typeof createMetrics>): Promise<Record<string, number>> {
  const lines = (await metrics.registry.metrics()).split("\n").filter((line) => line.startsWith("shop_"));
  return Object.fromEntries(
    lines.map((line) => {
      const [name = "", value] = line.split(" ");
      return [
        name
          .replace(/,?service="test"/, "")
          .replace("{,", "{")
          .replace("{}", ""),
        Number(value),
      ];
    }),
  );
}

describe("the metrics of a service", () => {
  it("begin with 0, of every subject that it handles, so that the first fault is an increase", async () => {
    const metrics = createMetrics("test");
    knownSubjects(metrics, [handler.contract]);
    expect(await read(metrics)).toMatchObject({
      [`shop_redeliveries_total{subject="${subject}"}`]: 0,
      [`shop_retries_total{subject="${subject}",outcome="error"}`]: 0,
      [`shop_dead_letters_parked_total{subject="${subject}"}`]: 0,
      [`shop_schema_refusals_total{subject="${subject}"}`]: 0,
      'shop_commit_duration_seconds_count{outcome="storage"}': 0,
      shop_commit_conflicts_total: 0,
      'shop_server_findings{kind="weaker"}': 0,
    });
  });

  it("count what became of a delivery", async () => {
    const metrics = createMetrics("test");
    for (const outcome of ["done", "retry", "retry", "error", "dead"]) {
      observeDelivery(metrics, { subject, outcome, redelivered: outcome === "retry", ms: 20 });
    }
    expect(await read(metrics)).toMatchObject({
      [`shop_delivery_duration_seconds_sum{subject="${subject}",outcome="done"}`]: 0.02,
      [`shop_redeliveries_total{subject="${subject}"}`]: 2,
      [`shop_retries_total{subject="${subject}",outcome="retry"}`]: 2,
      [`shop_retries_total{subject="${subject}",outcome="error"}`]: 1,
      [`shop_dead_letters_parked_total{subject="${subject}"}`]: 1,
    });
  });

  it("count every commit, and conflicts by themselves", async () => {
    const metrics = createMetrics("test");
    observeCommit(metrics, { outcome: "committed", messages: 12, decisions: 4, ms: 3 });
    observeCommit(metrics, { outcome: "conflict", messages: 2, decisions: 1, ms: 2 });
    expect(await read(metrics)).toMatchObject({
      'shop_commit_duration_seconds_count{outcome="committed"}': 1,
      'shop_commit_duration_seconds_count{outcome="conflict"}': 1,
      shop_commit_messages_sum: 14,
      shop_commit_decisions_sum: 5,
      shop_commit_conflicts_total: 1,
    });
  });

  it("forget findings that are mended", async () => {
    const metrics = createMetrics("test");
    setFindings(metrics, [{ kind: "weaker", what: "server version", wanted: ">= 2.15.0", is: "2.11.0" }]);
    expect(await read(metrics)).toMatchObject({ 'shop_server_findings{kind="weaker"}': 1 });
    setFindings(metrics, []);
    expect(await read(metrics)).toMatchObject({ 'shop_server_findings{kind="weaker"}': 0 });
  });
});

describe("knownSubjects()", () => {
  it("has one label for all that the service does not handle", () => {
    const known = knownSubjects(createMetrics("test"), [handler.contract]);
    expect(known(subject)).toBe(subject);
    expect(["checkout.a", "checkout.b", ""].map(known)).toEqual(["other", "other", "other"]);
  });
});
