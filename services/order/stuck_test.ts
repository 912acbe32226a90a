import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  catalogueItem,
  discardDeadLetter,
  key,
  message,
  orderCreated,
  readLast,
  redriveDeadLetter,
  reserveStock,
} from "../../nats/mod.ts";
import { parkNext, until } from "../../test/support/mod.ts";
import { body, openShop, readJson, type Shop, store } from "./test_shop.ts";

interface Stuck {
  order_id: string;
  state: string;
  stuck?: { dead_letter: string; service: string; type: string; status: string; since: string }[];
}

let shop: Shop;
/** Five orders, the coordinator has given up the second and fourth, and inventory has given up a command of the third. */
let ids: string[];
let letters: string[];
beforeAll(async () => {
  shop = await openShop();
  await shop.price("mug", 1_200n);
  await until("the catalogue", async () => {
    return (await readLast(shop.client.connection, "ORDER", key(catalogueItem, "mug"))).seq > 0;
  });
  ids = [];
  letters = [];
  for (let n = 0; n < 5; n++) ids.push((await readJson(await shop.post(body))).order_id);
  const [, , third = ""] = ids;
  const { value } = await readLast(shop.client.connection, "ORDER", key(orderCreated, third));
  if (value?.order === undefined) throw new Error("no order");
  await shop.advance(value.order, "reserving");
  await store(shop.checkout, message(reserveStock, third, { orderId: third }));
  const coordinator = await shop.client.js.consumers.get("ORDER", "coordinator");
  for (let n = 0; n < 4; n++) {
    if (n % 2 === 1) letters.push(await parkNext(shop.client, "ORDER", "coordinator"));
    else await (await coordinator.next())?.ackAck();
  }
  letters.push(await parkNext(shop.client, "CHECKOUT", "inventory"));
  // Answers are a second old at most.
  await until("all letters to be seen", async () => (await stuckIn("stuck=true")).length === 3);
});
afterAll(() => shop[Symbol.asyncDispose]());

async function list(query: string): Promise<{ orders: Stuck[]; next_cursor?: string }> {
  const answer = await shop.app.request(`/orders?${query}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as { orders: Stuck[]; next_cursor?: string };
}

const stuckIn = async (query: string) => (await list(query)).orders.map(({ order_id }) => order_id);
const orderOf = async (id: string) => (await (await shop.app.request(`/orders/${id}`)).json()) as Stuck;

describe("an order that waits for a message which is a dead letter", () => {
  it("says so: GET /orders/{id}", async () => {
    const [first = "", second = "", third = ""] = ids;
    expect(await orderOf(first)).not.toHaveProperty("stuck");
    expect(await orderOf(second)).toMatchObject({
      state: "created",
      stuck: [
        {
          dead_letter: letters[0],
          service: "coordinator",
          type: "order.created",
          status: "parked",
          since: expect.stringMatching(/Z$/),
        },
      ],
    });
    expect(await orderOf(third)).toMatchObject({
      state: "reserving",
      stuck: [{ dead_letter: letters[2], service: "inventory", type: "checkout.reserve_stock" }],
    });
  });

  it("is in the list of what has not begun, though the coordinator has acknowledged it", async () => {
    const [, second, , fourth, fifth] = ids;
    expect(await stuckIn("state=created")).toEqual([second, fourth, fifth]);
    const first = await list("state=created&limit=1");
    expect(first.orders).toMatchObject([{ order_id: second, stuck: [{ dead_letter: letters[0] }] }]);
    const next = await list(`state=created&limit=2&cursor=${first.next_cursor}`);
    expect(next.orders.map(({ order_id }) => order_id)).toEqual([fourth, fifth]);
  });

  it("is in the other lists with what holds it up", async () => {
    const all = await list("");
    expect(all.orders.map(({ stuck }) => stuck?.[0]?.dead_letter)).toEqual([
      undefined,
      letters[0],
      letters[2],
      letters[1],
      undefined,
    ]);
    expect((await list("state=reserving")).orders).toMatchObject([{ stuck: [{ dead_letter: letters[2] }] }]);
  });

  it("is found by stuck=true, page by page and by state", async () => {
    const [, second, third, fourth] = ids;
    expect(await stuckIn("stuck=true")).toEqual([second, fourth, third]);
    const first = await list("stuck=true&limit=2");
    expect(await stuckIn(`stuck=true&cursor=${first.next_cursor}`)).toEqual([third]);
    expect(await stuckIn("stuck=true&state=reserving")).toEqual([third]);
    expect((await shop.app.request("/orders?stuck=no")).status).toBe(400);
  });

  it("is not stuck for what is on its way back, and is for good when that was discarded", async () => {
    const [, second = "", , fourth = ""] = ids;
    const [one = "", other = ""] = letters;
    await redriveDeadLetter(shop.client, one, { by: "eve" });
    await discardDeadLetter(shop.client, other, { by: "eve", reason: "a test" });
    await until("it to be seen", async () => !("stuck" in (await orderOf(second))));
    expect(await stuckIn("state=created")).toContain(second);
    await until("it to be seen", async () => (await orderOf(fourth)).stuck?.[0]?.status === "discarded");
  });
});
