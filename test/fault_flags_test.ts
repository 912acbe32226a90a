import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { openShop, openStreams, type Streams, type TestShop, until } from "./support/mod.ts";

let shop: TestShop;
let streams: Streams;

beforeAll(async () => {
  shop = await openShop({ FAULTS: "on" });
  streams = await openStreams(shop.shop.operator);
});
afterAll(async () => {
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
});

async function ops(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { output, text } = collect();
  const environment = { NATS_URL: shop.shop.natsUrl, DATA_DIR: shop.folder };
  const code = await runOps(["fault", ...args], { output, environment });
  return { code, ...text() };
}

const isReady = async (service: string) => (await shop.call(service, "/readyz")).status === 200;

describe("ops fault", () => {
  it("takes a service down, so that its work waits, and up again, so that the shop catches up", async () => {
    expect(await ops("set", "inventory.down")).toEqual({ code: 0, out: "inventory.down=on\n", err: "" });
    await until("inventory to be down", async () => !(await isReady("inventory")));
    expect((await shop.call("inventory", "/stock/mug")).status).toBe(503);
    const order = await shop.place();
    await shop.reaches(order, "reserving");
    const waiting = await until("its command to wait", async () => {
      const info = await streams.jsm.consumers.info("CHECKOUT", "inventory");
      return info.num_pending + info.num_ack_pending > 0 && info;
    });
    expect(waiting.num_redelivered).toBe(0);
    expect((await ops("list", "--json")).out).toBe('{\n  "faults": {\n    "inventory.down": "on"\n  }\n}\n');

    expect((await ops("clear", "inventory.down")).out).toBe("inventory.down cleared\n");
    expect((await shop.ends(order)).state).toBe("completed");
    expect(await isReady("inventory")).toBe(true);
    expect(await ops("list")).toEqual({ code: 0, out: "", err: "no fault is set\n" });
  });

  it("slows a service down, fails it, and flags orders, several at once", { timeout: 90_000 }, async () => {
    await ops("set", "fulfillment.latency=700ms", "fulfillment.error_rate=1", "fraud.flag_rate=1");
    // Each service looks in its own time; what it reads, it reads at once.
    await until("fulfillment to be slow", async () => {
      const asked = performance.now();
      await shop.call("fulfillment", "/shipments/ord_none");
      return performance.now() - asked >= 700;
    });
    const order = await until(
      "an order to be flagged",
      async () => {
        const placed = await shop.place();
        const { state } = await shop.reaches(placed, ["in_review", "fulfilling", "completed"]);
        return state === "in_review" && placed;
      },
      { timeoutMs: 40_000 },
    );
    await ops("clear", "fraud.flag_rate");
    const decision = { decision: "approve", reviewer: "eve", note: "set to be flagged" };
    const headers = { authorization: "Bearer dev" };
    await shop.call("fraud", `/reviews/${order}/decision`, { method: "POST", body: decision, headers });
    await shop.reaches(order, "fulfilling");
    await until("deliveries that fail to come again", async () => {
      return (await streams.jsm.consumers.info("CHECKOUT", "fulfillment")).num_redelivered > 0;
    });
    await ops("clear", "fulfillment.error_rate");
    const { state, history } = await shop.ends(order);
    expect(state).toBe("completed");
    const at = (state: string) => Date.parse(history.find((it) => it.state === state)?.at ?? "");
    expect(at("completed") - at("fulfilling")).toBeGreaterThanOrEqual(700);
    expect((await ops("clear")).out).toContain("fulfillment.latency cleared");
  });

  it("refuses what is no fault, and says what there is", async () => {
    for (const wrong of [
      "nonsense.down",
      "payment.nonsense=1",
      "payment.latency=soon",
      "payment.latency",
      "payment.error_rate",
      "order.flag_rate=1",
    ]) {
      const { code, err } = await ops("set", wrong);
      expect({ wrong, code }).toEqual({ wrong, code: 2 });
      expect(err).toContain("Cannot set");
    }
    expect((await ops("set", "payment.latency=61s")).err).toContain("a minute at most");
    expect(await ops("clear", "payment.down")).toEqual({
      code: 1,
      out: "",
      err: "payment.down is not set\n",
    });
    expect((await ops("--help")).out).toContain("fraud.flag_rate=0.3");
  });
});

// Last: services look once a second, and what it sets and clears would flag another test's order.
describe("docs/operations.md", () => {
  it("has commands that do what it says", async () => {
    const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
    const [, section = ""] = /^### Break it, and watch\n([\s\S]*?)^## /m.exec(page) ?? [];
    const commands = [...section.matchAll(/^```sh\nnpm run ops -- fault (.*)\n```$/gm)].map(
      ([, args = ""]) => args,
    );
    expect(commands).toHaveLength(5);
    for (const command of commands) expect(await ops(...command.split(" "))).toMatchObject({ code: 0 });
  });
});
