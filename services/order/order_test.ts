import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  catalogueItem,
  checkoutState,
  key,
  orderCancelRequested,
  orderCreated,
  readLast,
} from "../../nats/mod.ts";
import { until } from "../../test/support/mod.ts";
import type { Order } from "./decide.ts";
import { body, openShop, readJson, type Shop } from "./test_shop.ts";

let shop: Shop;

beforeAll(async () => {
  shop = await openShop();
  await shop.price("mug", 1_200n);
  await shop.price("desk", 24_900n);
  await shop.price("tee", 900n, "USD");
  await until("the catalogue", async () => (await priceOf("tee")) !== undefined);
});
afterAll(() => shop[Symbol.asyncDispose]());

async function priceOf(sku: string): Promise<bigint | undefined> {
  const { value } = await readLast(shop.client.connection, "ORDER", key(catalogueItem, sku));
  return value?.unitPriceCents;
}

async function place(headers: Record<string, string> = {}): Promise<string> {
  const answer = await shop.post(body, headers);
  expect(answer.status).toBe(202);
  return (await readJson(answer)).order_id;
}

async function orderOf(orderId: string): Promise<Order> {
  const { value } = await readLast(shop.client.connection, "ORDER", key(orderCreated, orderId));
  if (value?.order === undefined) throw new Error(`no ${orderId}`);
  return value.order;
}

const cancel = (orderId: string) => shop.app.request(`/orders/${orderId}/cancel`, { method: "POST" });
const status = async (orderId: string) => readJson(await shop.app.request(`/orders/${orderId}`));

describe("POST /orders", () => {
  it("stores the order, priced from the catalogue, and says where it is", async () => {
    const lines = [
      { sku: "mug", quantity: 1 },
      { sku: "desk", quantity: 2 },
      { sku: "mug", quantity: 2 },
    ];
    const answer = await shop.post({ ...body, lines });
    expect(answer.status).toBe(202);
    const placed = await readJson(answer);
    expect(placed).toEqual({
      order_id: expect.stringMatching(/^ord_[0-9a-f]{32}$/),
      state: "created",
      total_cents: 53_400,
      currency: "EUR",
      placed_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      lines: [
        { sku: "mug", quantity: 3, unit_price_cents: 1_200 },
        { sku: "desk", quantity: 2, unit_price_cents: 24_900 },
      ],
    });
    expect(answer.headers.get("location")).toBe(`/orders/${placed.order_id}`);
    expect(await orderOf(placed.order_id)).toMatchObject({ totalCents: 53_400n, paymentToken: "tok_visa" });
  });

  it("passes the trace of the request on", async () => {
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const orderId = await place({ traceparent: `00-${trace}-b7ad6b7169203331-01` });
    const stored = await shop.client.jsm.streams.getMessage("ORDER", {
      last_by_subj: `order.created.${orderId}`,
    });
    expect(stored?.header.get("traceparent")).toContain(trace);
  });

  it("gives the same answer to the same key and request, also after the order has ended", async () => {
    const headers = { "idempotency-key": "again" };
    const first = await shop.post(body, headers);
    const answer = await readJson(first);
    await shop.advance(await orderOf(answer.order_id), "cancelled", { reason: "out_of_stock" });
    await shop.price("mug", 1_300n);
    await until("the new price", async () => (await priceOf("mug")) === 1_300n);
    const before = await shop.messages();
    const second = await shop.post({ ...body, lines: [...body.lines] }, headers);
    expect(second.status).toBe(202);
    expect(await second.json()).toEqual(answer);
    expect(second.headers.get("location")).toBe(first.headers.get("location"));
    expect(second.headers.get("idempotency-replayed")).toBe("true");
    expect(first.headers.get("idempotency-replayed")).toBeNull();
    expect(await shop.messages()).toBe(before);
  });

  it("refuses the same key with another request", async () => {
    const headers = { "idempotency-key": "reused" };
    await shop.post(body, headers);
    const before = await shop.messages();
    const answer = await shop.post({ ...body, payment_token: "tok_slow" }, headers);
    expect(answer.status).toBe(422);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(await answer.json()).toMatchObject({ type: "urn:problem:shop:idempotency-key-reused" });
    expect(await shop.messages()).toBe(before);
  });

  it("refuses an order that comes to another total than its customer was shown, and takes the corrected one", async () => {
    const price = Number(await priceOf("mug"));
    const headers = { "idempotency-key": "shown" };
    const before = await shop.messages();
    const lines = [{ sku: "mug", quantity: 2 }];
    const answer = await shop.post({ ...body, lines, expected_total_cents: price }, headers);
    expect(answer.status).toBe(409);
    expect(await answer.json()).toMatchObject({
      type: "urn:problem:shop:price-changed",
      expected_total_cents: price,
      total_cents: 2 * price,
      currency: "EUR",
    });
    expect(await shop.messages()).toBe(before);
    const corrected = { ...body, lines, expected_total_cents: 2 * price };
    expect((await shop.post(corrected, headers)).status).toBe(202);
    // Whatever the price is by then, the same request gets the same answer.
    await shop.price("mug", BigInt(price + 1));
    await until("the new price", async () => (await priceOf("mug")) === BigInt(price + 1));
    expect(await (await shop.post(corrected, headers)).json()).toMatchObject({ total_cents: 2 * price });
    expect((await shop.post({ ...body, lines, expected_total_cents: 1 }, headers)).status).toBe(422);
  });

  it("makes one order of fifty requests at once with one key", async () => {
    const before = await shop.messages();
    const headers = { "idempotency-key": "fifty" };
    const answers = await Promise.all(Array.from({ length: 50 }, () => shop.post(body, headers)));
    const accepted = answers.filter(({ status }) => status === 202);
    const inFlight = answers.filter(({ status }) => status === 409);
    expect(accepted.length).toBeGreaterThan(0);
    expect(accepted.length + inFlight.length).toBe(50);
    expect(inFlight.every((answer) => answer.headers.get("retry-after") === "1")).toBe(true);
    const ids = await Promise.all(accepted.map(async (answer) => (await readJson(answer)).order_id));
    expect(new Set(ids).size).toBe(1);
    expect(await shop.messages()).toBe(before + 1);
    expect((await readJson(await shop.post(body, headers))).order_id).toBe(ids[0]);
  });

  it("says 409 while the first request with the key is handled, and forgets it when that fails", async () => {
    const headers = { "idempotency-key": "in-flight" };
    const unknown = { ...body, lines: [{ sku: "ghost", quantity: 1 }] };
    const [first, second] = await Promise.all([shop.post(unknown, headers), shop.post(unknown, headers)]);
    expect([first.status, second.status].toSorted()).toEqual([409, 422]);
    expect((await shop.post(body, headers)).status).toBe(202);
  });
});

describe("POST /orders with bad input", () => {
  const bad: [string, number, unknown, Record<string, string>?][] = [
    ["no key", 400, body, { "idempotency-key": "" }],
    ["a key that is too long", 400, body, { "idempotency-key": "x".repeat(256) }],
    ["no JSON", 400, "{"],
    ["no body", 400, ""],
    ["another content type", 415, body, { "content-type": "text/plain" }],
    ["wrong types", 422, { ...body, lines: "mug" }],
    ["quantity 0", 422, { ...body, lines: [{ sku: "mug", quantity: 0 }] }],
    ["an absurd quantity", 422, { ...body, lines: [{ sku: "mug", quantity: 1e9 }] }],
    ["an unknown sku", 422, { ...body, lines: [{ sku: "ghost", quantity: 1 }] }],
    ["a price", 422, { ...body, lines: [{ sku: "mug", quantity: 1, unit_price_cents: 1 }] }],
    [
      "two currencies",
      422,
      {
        ...body,
        lines: [
          { sku: "mug", quantity: 1 },
          { sku: "tee", quantity: 1 },
        ],
      },
    ],
    ["a control character", 422, { ...body, shipping_address: { ...body.shipping_address, name: "a\nb" } }],
    ["3 MB", 413, "x".repeat(3 * 1024 * 1024)],
    [
      "3 MB with their length",
      413,
      "x".repeat(3 * 1024 * 1024),
      { "content-length": String(3 * 1024 * 1024) },
    ],
  ];
  it.each(bad)(
    "of %s answers %d with problem details and stores nothing",
    async (_name, code, content, headers) => {
      const before = await shop.messages();
      const answer = await shop.post(content, headers);
      expect(answer.status).toBe(code);
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
      expect(await answer.json()).toMatchObject({
        type: expect.stringContaining("urn:problem:shop:"),
        status: code,
        detail: expect.any(String),
        instance: "/orders",
      });
      expect(await shop.messages()).toBe(before);
    },
  );

  it("names the sku that nobody sells", async () => {
    const answer = await shop.post({ ...body, lines: [{ sku: "ghost", quantity: 1 }] });
    expect(await answer.json()).toMatchObject({ type: "urn:problem:shop:unknown-sku", skus: ["ghost"] });
  });
});

describe("GET /orders/{id}", () => {
  it("finds an order before the coordinator has", async () => {
    const orderId = await place();
    const found = await status(orderId);
    expect(found).toMatchObject({ order_id: orderId, state: "created", currency: "EUR" });
    expect(found).not.toHaveProperty("reason");
    expect(found.history).toEqual([{ state: "created", at: found.placed_at, cause: "order.created" }]);
  });

  it("shows what the coordinator has made of it, with the reason", async () => {
    const orderId = await place();
    const order = await orderOf(orderId);
    await shop.advance(order, "reserving", { cause: "order.created" });
    await shop.advance(order, "cancelled", { cause: "inventory.stock_rejected", reason: "out_of_stock" });
    const found = await status(orderId);
    expect(found).toMatchObject({ state: "cancelled", reason: "out_of_stock", lines: [{ sku: "mug" }] });
    expect(found.history.map((entry) => [entry.state, entry.cause])).toEqual([
      ["created", "order.created"],
      ["reserving", "order.created"],
      ["cancelled", "inventory.stock_rejected"],
    ]);
    expect(JSON.stringify(found)).not.toContain("tok_visa");
  });

  it.each(["ord_unknown", "a.b", "*", "%3E", "x".repeat(500)])("knows no %j", async (orderId) => {
    const answer = await shop.app.request(`/orders/${orderId}`);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ type: "urn:problem:shop:unknown-order" });
  });
});

describe("POST /orders/{id}/cancel", () => {
  it("asks the coordinator once, however often it is asked", async () => {
    const orderId = await place();
    await shop.advance(await orderOf(orderId), "reserving");
    const first = await cancel(orderId);
    expect(first.status).toBe(202);
    const answer = await readJson(first);
    expect(answer).toMatchObject({
      order_id: orderId,
      state: "reserving",
      cancel_requested_at: expect.any(String),
    });
    const before = await shop.messages();
    const again = await Promise.all([cancel(orderId), cancel(orderId)]);
    for (const other of again) {
      expect(other.status).toBe(202);
      expect(await other.json()).toEqual(answer);
    }
    expect(await shop.messages()).toBe(before);
    const { value } = await readLast(shop.client.connection, "ORDER", key(orderCancelRequested, orderId));
    expect(value?.order?.orderId).toBe(orderId);
  });

  it("cancels an order that the coordinator has not seen yet", async () => {
    const answer = await cancel(await place());
    expect(answer.status).toBe(202);
    expect(await answer.json()).toMatchObject({ state: "created" });
  });

  it("still says 202 when the order was cancelled on request", async () => {
    const orderId = await place();
    await cancel(orderId);
    await shop.advance(await orderOf(orderId), "cancelled", { reason: "customer_request" });
    const answer = await cancel(orderId);
    expect(answer.status).toBe(202);
    expect(await answer.json()).toMatchObject({ state: "cancelled", reason: "customer_request" });
  });

  it.each([
    ["fulfilling", "", "too-late-to-cancel"],
    ["completed", "", "too-late-to-cancel"],
    ["cancelled", "payment_declined", "already-cancelled"],
  ])("refuses when the order is %s", async (state, reason, type) => {
    const orderId = await place();
    await shop.advance(await orderOf(orderId), state, { reason });
    const before = await shop.messages();
    const answer = await cancel(orderId);
    expect(answer.status).toBe(409);
    const problem = await readJson(answer);
    expect(problem).toMatchObject({ type: `urn:problem:shop:${type}`, state });
    expect(problem.detail).toContain(reason || state.slice(0, 6));
    expect(await shop.messages()).toBe(before);
  });

  it.each(["fulfilling", "completed"])(
    "shows in GET that it came too late for an order that was %s by then",
    async (state) => {
      const orderId = await place();
      const { cancel_requested_at: requestedAt } = await readJson(await cancel(orderId));
      await shop.advance(await orderOf(orderId), state);
      expect((await status(orderId)).cancellation).toEqual({
        requested_at: requestedAt,
        refused: "fulfilment had been dispatched",
      });
    },
  );

  it.each(["refunding", "releasing", "cancelled"])(
    "shows in GET since when the order is %s",
    async (state) => {
      const orderId = await place();
      await cancel(orderId);
      await shop.advance(await orderOf(orderId), state, { reason: "customer_request" });
      expect((await status(orderId)).cancellation).toEqual({ requested_at: expect.stringMatching(/Z$/) });
    },
  );

  it("shows nothing in GET of an order that nobody wanted to cancel", async () => {
    const orderId = await place();
    await shop.advance(await orderOf(orderId), "completed");
    expect(await status(orderId)).not.toHaveProperty("cancellation");
  });

  it("knows no order that was never placed", async () => {
    const before = await shop.messages();
    expect((await cancel("ord_unknown")).status).toBe(404);
    expect(await shop.messages()).toBe(before);
  });
});

describe("the catalogue", () => {
  it("follows the prices that inventory announces", async () => {
    await shop.price("lamp", 100n);
    await shop.price("lamp", 200n);
    await until("the second price", async () => (await priceOf("lamp")) === 200n);
    const answer = await shop.post({ ...body, lines: [{ sku: "lamp", quantity: 3 }] });
    expect(await answer.json()).toMatchObject({ total_cents: 600 });
  });

  it("is shown by sku, page by page, at the latest prices", async () => {
    await shop.price("lamp", 300n);
    await until("the third price", async () => (await priceOf("lamp")) === 300n);
    const page = async (query: string) => {
      const answer = await shop.app.request(`/items${query}`);
      return (await answer.json()) as { items: { sku: string }[]; next_cursor?: string };
    };
    const all = await page("");
    expect(all.items).toContainEqual({ sku: "lamp", unit_price_cents: 300, currency: "EUR" });
    const skus = all.items.map(({ sku }) => sku);
    expect(skus).toEqual(skus.toSorted());
    expect(new Set(skus).size).toBe(skus.length);
    const paged: string[] = [];
    for (let cursor: string | undefined = "-"; cursor !== undefined; ) {
      const { items, next_cursor }: Awaited<ReturnType<typeof page>> = await page(
        `?limit=2&cursor=${cursor}`,
      );
      paged.push(...items.map(({ sku }) => sku));
      cursor = next_cursor;
    }
    expect(paged).toEqual(skus);
    expect((await shop.app.request("/items?limit=0")).status).toBe(400);
    expect((await shop.app.request("/items?cursor=a%20b")).status).toBe(400);
  });

  it("keeps orders and prices when the server is restarted", async () => {
    const orderId = await place();
    await shop.server.restart();
    await until("the order", async () => (await shop.app.request(`/orders/${orderId}`)).status === 200);
    await until("a price", async () => (await shop.post(body)).status === 202);
    expect(await readLast(shop.client.connection, "CHECKOUT", key(checkoutState, orderId))).toMatchObject({
      seq: 0,
    });
  });
});
