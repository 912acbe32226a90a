import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { services } from "../services/mod.ts";
import { audit, exampleOrder, openShop, openStreams, type Placed, type TestShop } from "./support/mod.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await openShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

const BATCH = 20;
const placed: Placed[] = [];

/** Places orders while `disturb` goes on, and waits until all of them have ended. */
async function ordersDuring(disturb: () => Promise<void>): Promise<void> {
  const disturbed = disturb();
  const ids = await Promise.all(Array.from({ length: BATCH }, () => shop.place()));
  placed.push(...ids.map((id) => ({ id, lines: exampleOrder.lines })));
  await disturbed;
  const orders = await Promise.all(ids.map((id) => shop.ends(id)));
  expect(orders.map(({ state }) => state)).toEqual(ids.map(() => "completed"));
}

describe("an order in mid-flow", () => {
  it.each([...services.map(({ name }) => name), "nats-server"])("survives a SIGKILL of %s", async (name) => {
    await ordersDuring(async () => {
      await shop.shop.kill(name);
      await shop.shop.ready(name);
    });
  });

  it("survives the end and the start of everything", async () => {
    const ids = await Promise.all(Array.from({ length: BATCH }, () => shop.place()));
    placed.push(...ids.map((id) => ({ id, lines: exampleOrder.lines })));
    await Promise.all(services.map(({ name }) => shop.shop.stop(name)));
    await shop.shop.restart("nats-server");
    await Promise.all(services.map(({ name }) => shop.shop.start(name)));
    for (const id of ids) expect(await shop.ends(id)).toMatchObject({ state: "completed" });
  });

  it("leaves money and stock in balance after all of it, and no dead letter", async () => {
    await audit(shop, placed, { mug: 1_000_000 });
    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet();
    expect(await streams.lastSequences()).toMatchObject({ DEAD_LETTER: 0 });
  });
});
