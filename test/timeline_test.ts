import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { openShop, openStreams, type Streams, type TestShop } from "./support/mod.ts";

let shop: TestShop;
let streams: Streams;
beforeAll(async () => {
  shop = await openShop({});
  streams = await openStreams(shop.shop.operator);
});
afterAll(async () => {
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
});
async function ops(...args: string[]) {
  const { output, text } = collect();
  const environment = { NATS_URL: shop.shop.natsUrl, DATA_DIR: shop.folder };
  const code = await runOps(["order", ...args], { output, environment });
  return { code, ...text() };
}
describe("GET /orders/{id}/timeline", () => {
  it("is what ops order says", async () => {
    const id = await shop.place();
    await shop.ends(id);
    await streams.quiet();
    const { status, body } = await shop.call("order", `/orders/${id}/timeline`);
    const told = await ops(id, "--json");
    expect({ status, body, code: 0 }).toEqual({ status: 200, body: JSON.parse(told.out), code: told.code });
  });
});
