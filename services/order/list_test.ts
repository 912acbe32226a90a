import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalogueItem, checkoutState, key, message, orderCreated, readLast } from "../../nats/mod.ts";
import { until } from "../../test/support/mod.ts";
import type { Order } from "./decide.ts";
import { body, openShop, readJson, type Shop, store } from "./test_shop.ts";

let shop: Shop;
let orders: Order[];

beforeAll(async () => {
  shop = await openShop();
  await shop.price("mug", 1_200n);
  await until("the catalogue", async () => {
    return (await readLast(shop.client.connection, "ORDER", key(catalogueItem, "mug"))).seq > 0;
  });
  orders = [];
  for (let n = 0; n < 25; n++) {
    const { order_id: orderId } = await readJson(await shop.post(body));
    const { value } = await readLast(shop.client.connection, "ORDER", key(orderCreated, orderId));
    if (value?.order !== undefined) orders.push(value.order);
  }
  // 0–4 are completed, 5–9 cancelled, 10–14 charging, 15–19 in review, 20–24 not yet seen by the coordinator.
  for (const order of orders.slice(0, 20)) await shop.advance(order, "reserving");
  for (const order of orders.slice(0, 15)) await shop.advance(order, "charging");
  for (const order of orders.slice(0, 5)) await shop.advance(order, "completed");
  for (const order of orders.slice(5, 10))
    await shop.advance(order, "cancelled", { reason: "payment_declined" });
  for (const order of orders.slice(15, 20)) await shop.advance(order, "in_review");
  const coordinator = await shop.client.js.consumers.get("ORDER", "coordinator");
  for await (const msg of await coordinator.fetch({ max_messages: 20, expires: 5_000 })) await msg.ackAck();
});
afterAll(() => shop[Symbol.asyncDispose]());

interface Listed {
  orders: { order_id: string; state: string; reason?: string; total_cents: number; placed_at: string }[];
  next_cursor?: string;
}

async function list(query: string): Promise<Listed> {
  const answer = await shop.app.request(`/orders?${query}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as Listed;
}

/** Turns pages until there are no more. */
async function listAll(query: string): Promise<{ ids: string[]; pages: number }> {
  const ids: string[] = [];
  for (let pages = 1, cursor = ""; ; pages++) {
    const page = await list(`${query}${cursor && `&cursor=${cursor}`}`);
    ids.push(...page.orders.map((order) => order.order_id));
    if (page.next_cursor === undefined) return { ids, pages };
    cursor = page.next_cursor;
  }
}

const idsOf = (from: number, to: number) => orders.slice(from, to).map(({ orderId }) => orderId);

describe("GET /orders", () => {
  it.each([
    ["completed", 0, 5],
    ["cancelled", 5, 10],
    ["charging", 10, 15],
    ["in_review", 15, 20],
    ["created", 20, 25],
    ["reserving", 25, 25],
  ])("lists the orders that are %s, page by page", async (state, from, to) => {
    const { ids, pages } = await listAll(`state=${state}&limit=2`);
    expect(ids).toEqual(idsOf(from, to));
    expect(pages).toBe(from === to ? 1 : 3);
    expect((await list(`state=${state}`)).orders.every((order) => order.state === state)).toBe(true);
  });

  it("lists an order by its state, whatever it was in when its timer was set", async () => {
    const order = orders[10] as Order;
    const states = key(checkoutState, order.orderId);
    const { value: charging } = await readLast(shop.client.connection, "CHECKOUT", states);
    const enter = (state: string) =>
      store(
        shop.checkout,
        message(checkoutState, order.orderId, { ...charging, state } as typeof charging & object),
      );
    await enter("fulfilling");
    expect((await listAll("state=fulfilling&limit=1")).ids).toEqual([order.orderId]);
    expect((await listAll("state=charging&limit=2")).ids).toEqual(idsOf(11, 15));
    await enter("charging");
    expect((await listAll("state=charging&limit=2")).ids).toEqual(idsOf(10, 15));
  });

  it("lists all orders with where each stands, oldest first, twenty a page", async () => {
    const first = await list("");
    expect(first.orders).toHaveLength(20);
    expect(first.orders.map(({ state }) => state).filter((state) => state === "charging")).toHaveLength(5);
    const second = await list(`cursor=${first.next_cursor}`);
    expect(second.orders.map(({ state }) => state)).toEqual(Array(5).fill("created"));
    expect(second).not.toHaveProperty("next_cursor");
    expect([...first.orders, ...second.orders].map((order) => order.order_id)).toEqual(idsOf(0, 25));
  });

  it("says what there is to know of each", async () => {
    const { orders: cancelled } = await list("state=cancelled&limit=1");
    expect(cancelled).toEqual([
      {
        order_id: orders[5]?.orderId,
        state: "cancelled",
        reason: "payment_declined",
        total_cents: 1_200,
        currency: "EUR",
        placed_at: expect.stringMatching(/Z$/),
      },
    ]);
  });

  it.each([
    ["state=lost", "/state"],
    ["state=", "/state"],
    ["limit=0", "/limit"],
    ["limit=101", "/limit"],
    ["limit=ten", "/limit"],
    ["cursor=x", "/cursor"],
    ["cursor=", "/cursor"],
    ["cursor=MQ==", "/cursor"],
    ["status=completed", "/status"],
  ])("refuses %s", async (query, pointer) => {
    const answer = await shop.app.request(`/orders?${query}`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      type: "urn:problem:shop:invalid-query",
      errors: [{ pointer }],
    });
  });

  it("names the states there are when asked for another", async () => {
    const answer = await shop.app.request("/orders?state=lost");
    expect((await readJson(answer)).detail).toContain("in_review");
  });
});
