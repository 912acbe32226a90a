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
  const environment = { DATA_DIR: shop.folder };
  const code = await runOps(["fault", ...args], { output, environment });
  return { code, ...text() };
}

const isReady = async (service: string) => (await shop.call(service, "/readyz")).status === 200;

describe("ops fault", () => {
  it("takes a service down, so that its work waits, and up again, so that the shop catches up", async () => {
    expect(await ops("set", "inventory.down")).toEqual({ code: 0, out: "inventory.down=on\n", err: "" });
    // Heeded when the command returns, and not a second later.
    expect(await isReady("inventory")).toBe(false);
    expect((await shop.call("inventory", "/stock/mug")).status).toBe(503);
    const order = await shop.place();
    await shop.reaches(order, "reserving");
    const waiting = await until("its command to wait", async () => {
      const info = await streams.jsm.consumers.info("CHECKOUT", "inventory");
      return info.num_pending + info.num_ack_pending > 0 && info;
    });
    expect(waiting.num_redelivered).toBe(0);
    expect((await ops("list", "--json")).out).toBe('{\n  "faults": {\n    "inventory.down": "on"\n  }\n}\n');

    expect(await ops("clear", "inventory.down")).toEqual({
      code: 0,
      out: "inventory.down cleared\n",
      err: "",
    });
    expect(await isReady("inventory")).toBe(true);
    expect((await shop.ends(order)).state).toBe("completed");
    expect(await ops("list")).toEqual({ code: 0, out: "", err: "no fault is set\n" });
  });

  it("slows a service down, fails it, and flags orders, several at once", async () => {
    await ops("set", "fulfillment.latency=700ms", "fulfillment.error_rate=1", "fraud.flag_rate=1");
    const asked = performance.now();
    await shop.call("fulfillment", "/shipments/ord_none");
    expect(performance.now() - asked).toBeGreaterThanOrEqual(700);
    const order = await shop.place();
    await shop.reaches(order, "in_review");
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

  it("stores what a service that does not run will heed, and says that it has not", async () => {
    await shop.shop.stop("fraud");
    const { code, out, err } = await ops("set", "fraud.latency=1ms", "payment.latency=1ms");
    expect({ code, out }).toEqual({ code: 1, out: "fraud.latency=1ms\npayment.latency=1ms\n" });
    expect(err).toMatch(
      /^fraud has not said that it heeds this: it does not answer \(.*\) \(http:.*\/metrics\)\n$/,
    );
    await shop.shop.start("fraud");
    expect(await ops("clear")).toMatchObject({ code: 0, err: "" });
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
