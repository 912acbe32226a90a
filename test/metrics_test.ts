import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { commit, newHeaders, topology } from "../nats/mod.ts";
import type { lagJson } from "../ops/lag.ts";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { states } from "../services/coordinator/table.ts";
import { services } from "../services/mod.ts";
import { liveStates } from "../services/monitor/live.ts";
import {
  flaggedAddress,
  metricsNamedIn,
  openShop,
  openStreams,
  processFigures,
  type Sample,
  type Scrape,
  type Streams,
  scrape,
  type TestShop,
  until,
} from "./support/mod.ts";

const deploy = fileURLToPath(new URL("../deploy/", import.meta.url));
const dashboards = join(deploy, "grafana", "provisioning", "dashboards");

let shop: TestShop;
let streams: Streams;
beforeAll(async () => {
  shop = await openShop(
    { LAG_EVERY_MS: "200", RECONCILE_EVERY_MS: "200", RECONCILE_SETTLE_MS: "300" },
    { analytics: true },
  );
  streams = await openStreams(shop.shop.operator);
});
afterAll(async () => {
  await streams?.[Symbol.asyncDispose]();
  await shop?.[Symbol.asyncDispose]();
});

const scrapeOf = (service: string) => scrape(shop.shop.url(service));

/** The value of the one sample of this name with these labels, in a service's metrics. */
async function valueAt(service: string, name: string, labels: Sample["labels"] = {}): Promise<number> {
  const { samples } = await scrapeOf(service);
  const found = samples.filter(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  expect({ name, labels, found: found.length }).toEqual({ name, labels, found: 1 });
  return found[0]?.value ?? Number.NaN;
}

describe("the metrics of a running shop", () => {
  let scrapes: Scrape[];

  it.runIf(existsSync("/proc/self/status")).each(services)(
    "tell of the process of $name what the system tells of it",
    async ({ name }) => {
      const told = await scrapeOf(name);
      const system = await processFigures(shop.shop.pid(name) ?? 0);
      const value = (metric: string) => told.samples.find((sample) => sample.name === metric)?.value;
      // A moment lies between the two, in which the process goes on.
      const about = (figure: number) => ({
        asymmetricMatch: (other: unknown) => Number(other) > figure / 2 && Number(other) < figure * 2,
      });
      expect({
        residentBytes: value("process_resident_memory_bytes"),
        virtualBytes: value("process_virtual_memory_bytes"),
        openFiles: value("process_open_fds"),
        maxFiles: value("process_max_fds"),
      }).toEqual({
        residentBytes: about(system.residentBytes),
        virtualBytes: about(system.virtualBytes),
        openFiles: about(system.openFiles),
        maxFiles: system.maxFiles,
      });
      expect(value("process_start_time_seconds")).toBeCloseTo(system.startedAt, -1);
      // Counted from the moment on at which the process had loaded what counts.
      expect(value("process_cpu_seconds_total")).toBeGreaterThan(0);
      expect(value("process_cpu_seconds_total")).toBeLessThanOrEqual(system.cpuSeconds + 0.1);
      const heap = value("nodejs_heap_size_used_bytes") ?? 0;
      expect(heap).toBeGreaterThan(0);
      expect(heap).toBeLessThan(system.residentBytes * 2);
      expect(value("nodejs_eventloop_lag_p99_seconds")).toBeGreaterThan(0);
    },
  );

  it("count orders by how they ended, and see what is under way", async () => {
    const [, declined, flagged] = await Promise.all([
      shop.place().then((id) => shop.ends(id)),
      shop.place({ payment_token: "tok_declined" }).then((id) => shop.ends(id)),
      shop.place({ shipping_address: flaggedAddress }),
    ]);
    await shop.reaches(flagged, "in_review");
    expect(declined).toMatchObject({ state: "cancelled", reason: "payment_declined" });
    const ended = (outcome: string, reason: string) =>
      valueAt("coordinator", "shop_orders_ended_total", { outcome, reason });
    expect(await valueAt("order", "shop_orders_placed_total")).toBe(3);
    expect(await ended("completed", "")).toBe(1);
    expect(await ended("cancelled", "payment_declined")).toBe(1);
    expect(await ended("cancelled", "timed_out")).toBe(0);
    const inReview = { state: "in_review" };
    await until("the review", async () => (await valueAt("monitor", "shop_checkouts_live", inReview)) === 1);
    const oldest = () => valueAt("monitor", "shop_checkout_oldest_age_seconds", inReview);
    await until("its age, which is 0 if it began while monitor looked", async () => (await oldest()) > 0);
    expect(await valueAt("monitor", "shop_checkouts_overdue")).toBe(0);
  });

  it("see no server that is weaker than asked, and how full its store is", async () => {
    for (const { name } of services) {
      for (const kind of ["missing", "weaker", "unseen"]) {
        expect(await valueAt(name, "shop_server_findings", { kind })).toBe(0);
      }
    }
    expect(await valueAt("monitor", "shop_store_used_bytes")).toBeGreaterThan(0);
    expect(await valueAt("monitor", "shop_store_limit_bytes")).toBe(10 * 2 ** 30);
  });

  it("have all that a rule or a panel names", async () => {
    const { groups } = parse(await readFile(join(deploy, "prometheus", "rules", "shop.yml"), "utf8"));
    const expressions: string[] = groups.flatMap(({ rules }: { rules: { expr: string }[] }) =>
      rules.map(({ expr }) => expr),
    );
    const names = (await readdir(dashboards)).filter((name) => name.endsWith(".json"));
    for (const name of names) {
      const { panels } = JSON.parse(await readFile(join(dashboards, name), "utf8"));
      for (const { targets = [] } of panels as { targets?: { expr: string }[] }[]) {
        expressions.push(...targets.map(({ expr }) => expr));
      }
    }
    const named = new Set(expressions.flatMap(metricsNamedIn));
    // Prometheus makes it of its own scrapes.
    named.delete("up");
    expect(named.size).toBeGreaterThan(30);

    scrapes = await Promise.all(services.map(({ name }) => scrapeOf(name)));
    const there = new Set(scrapes.flatMap(({ samples }) => samples.map(({ name }) => name)));
    expect([...named.difference(there)]).toEqual([]);
  });

  it("say what they are, by Prometheus' conventions", () => {
    for (const { families, samples } of scrapes) {
      for (const { name, type, help } of families.values()) {
        expect({ name, help: help.length > 10, type }).toEqual({
          name,
          help: true,
          type: expect.stringMatching(/^(counter|gauge|histogram)$/),
        });
        expect(name).toMatch(/^(shop|nodejs|process)_[a-z0-9_]+$|^consumer_lag_sum$/);
        if (!name.startsWith("shop_")) continue;
        // A counter, and nothing else, ends in _total; no unit but the base ones.
        expect({ name, total: name.endsWith("_total") }).toEqual({ name, total: type === "counter" });
        expect(name).not.toMatch(/_(ms|millis|milliseconds|minutes|kb|mb|kilobytes|count|sum|bucket)$/);
      }
      for (const { name } of samples) {
        const family = name.replace(/_(bucket|sum|count)$/, "");
        expect(families.has(name) || families.has(family)).toBe(true);
      }
    }
  });

  it("have no label that grows with the orders", () => {
    for (const { samples } of scrapes) {
      for (const { name, labels } of samples) {
        for (const value of Object.values(labels)) {
          expect({ name, value }).not.toMatchObject({ value: expect.stringMatching(/ord_|[0-9a-f]{8}-|@/) });
        }
      }
      // With all that can happen to every message it is a few thousand.
      expect(samples.length).toBeLessThan(2_000);
    }
  });

  it("count a message that is parked", async () => {
    const subject = "checkout.reserve_stock";
    const entry = { subject: `${subject}.ord_x`, data: new Uint8Array([255]), headers: newHeaders() };
    expect((await commit(streams.connection, "CHECKOUT", [entry])).kind).toBe("committed");
    await until("it to be parked", async () => {
      return (await valueAt("inventory", "shop_dead_letters_parked_total", { subject })) === 1;
    });
    const waiting = () => valueAt("monitor", "shop_dead_letters", { parked_by: "inventory" });
    await until("the monitor", async () => (await waiting()) === 1);
  });

  it("see a server that becomes weaker, and a consumer that goes", async () => {
    const { jsm } = streams;
    const { config } = await jsm.consumers.info("CHECKOUT", "notification");
    await jsm.consumers.delete("CHECKOUT", "notification");
    const missing = () => valueAt("monitor", "shop_server_findings", { kind: "missing" });
    await until("the finding", async () => (await missing()) === 1);
    await jsm.consumers.add("CHECKOUT", config);
    await until("it to be over", async () => (await missing()) === 0);
  });
});

describe("a service that is stopped", () => {
  const lag = (name: string, labels: Sample["labels"]) => valueAt("monitor", name, labels);
  const inventory = { stream: "CHECKOUT", consumer: "inventory" };

  it("shows how far it is behind, in messages and in seconds, and that it has caught up", async () => {
    await shop.shop.stop("inventory");
    const orders = await Promise.all([shop.place(), shop.place()]);
    await until("the lag", async () => (await lag("consumer_lag_sum", { consumer: "inventory" })) === 2);
    await until("a second of it", async () => (await lag("shop_consumer_lag_seconds", inventory)) > 1);
    expect(await lag("shop_consumer_pending_messages", inventory)).toBe(2);
    expect(await lag("shop_consumer_unacked_messages", inventory)).toBe(0);
    expect(await lag("shop_checkouts_live", { state: "reserving" })).toBe(2);
    expect(await lag("shop_consumer_lag_seconds", { stream: "CHECKOUT", consumer: "payment" })).toBe(0);

    const { output, text } = collect();
    const { servers, nkeyFile } = shop.shop.operator;
    const environment = { NATS_URL: servers, NATS_NKEY_FILE: nkeyFile };
    expect(await runOps(["lag", "--json"], { output, environment })).toBe(0);
    const seen: ReturnType<typeof lagJson> = JSON.parse(text().out);
    const found = seen.services.find(({ service }) => service === "inventory");
    expect(found?.consumer_lag_sum).toBe(2);
    expect(found?.lag_seconds).toBeGreaterThan(1);
    expect(seen.services.flatMap(({ consumers }) => consumers)).toHaveLength(topology.consumers.length);

    await shop.shop.start("inventory");
    await Promise.all(orders.map((id) => shop.ends(id)));
    await until("no lag", async () => (await lag("consumer_lag_sum", { consumer: "inventory" })) === 0);
    expect(await lag("shop_consumer_lag_seconds", inventory)).toBe(0);
  });

  it("shows the same of a projection, and no order waits for it", async () => {
    const analytics = { stream: "ORDER", consumer: "analytics" };
    await shop.shop.stop("analytics");
    await shop.ends(await shop.place());
    await until("the lag", async () => (await lag("shop_consumer_pending_messages", analytics)) === 1);
    await until("a second of it", async () => (await lag("shop_consumer_lag_seconds", analytics)) > 1);

    await shop.shop.start("analytics");
    await until("no lag", async () => (await lag("consumer_lag_sum", { consumer: "analytics" })) === 0);
    expect(await lag("shop_consumer_lag_seconds", analytics)).toBe(0);
  });
});

describe("liveStates", () => {
  it("are the states of the coordinator's table in which something is stored and has not ended", () => {
    const others = new Set<string>(["created", "completed", "cancelled"]);
    expect([...liveStates].sort()).toEqual(states.filter((state) => !others.has(state)).sort());
  });
});

describe("metricsNamedIn()", () => {
  it("finds metrics, and neither functions nor labels", () => {
    const expression =
      'histogram_quantile(0.9, sum by (le, service) (rate(a_bucket{x="b_c"}[$__rate_interval]))) > 0.2 * max(d) or absent(e) and on (f) g offset 5m';
    expect(metricsNamedIn(expression)).toEqual(["a_bucket", "d", "e", "g"]);
  });
});
