import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { ItemPricedSchema } from "../../gen/shop/inventory/v1/item_priced_pb.ts";
import { catalogueItem, message, orderCreated } from "../../nats/contracts/mod.ts";
import { MemoryView } from "../../test/support/mod.ts";
import { handlers, type Order, type Placing, placeOrder, placingKeys, requestCancel } from "./decide.ts";
import { OrderBody } from "./request.ts";
import { body } from "./test_shop.ts";

const [price] = handlers;
const now = timestampFromDate(new Date("2026-01-01T00:00:00Z"));
const idSecretFingerprint = new Uint8Array(8).fill(1);
const placing: Placing = { orderId: "ord_1", idSecretFingerprint, requestHash: "r1", attemptId: "a1", now };

function catalogue(prices: Record<string, [cents: bigint, currency: string]>): MemoryView {
  const view = new MemoryView();
  for (const [sku, [unitPriceCents, currency]] of Object.entries(prices)) {
    view.store([message(catalogueItem, sku, { sku, unitPriceCents, currency })]);
  }
  view.log.length = 0;
  return view;
}

const shop = () => catalogue({ mug: [1_200n, "EUR"], desk: [24_900n, "EUR"], tee: [900n, "USD"] });

function request(quantities: Record<string, number>) {
  const lines = Object.entries(quantities).map(([sku, quantity]) => ({ sku, quantity }));
  return OrderBody.parse({ ...body, lines });
}

describe("placeOrder()", () => {
  it("prices the order from the catalogue and stores it with what its key was used for", () => {
    const { messages, result } = placeOrder(shop(), request({ mug: 2, desk: 1 }), placing);
    expect(messages.map(({ subject }) => subject)).toEqual(["order.created.ord_1"]);
    expect(messages[0]?.value).toMatchObject({ requestHash: "r1", attemptId: "a1", idSecretFingerprint });
    expect(result).toMatchObject({
      kind: "accepted",
      order: {
        orderId: "ord_1",
        totalCents: 27_300n,
        currency: "EUR",
        placedAt: now,
        lines: [
          { sku: "mug", quantity: 2, unitPriceCents: 1_200n },
          { sku: "desk", quantity: 1, unitPriceCents: 24_900n },
        ],
        shippingAddress: { name: "Ada", line2: "", postalCode: "YO1 7HH", country: "GB" },
      },
    });
  });

  it("takes an order at the total that its customer was shown, and none at another", () => {
    const shown = (expected_total_cents: number) => ({ ...request({ mug: 2 }), expected_total_cents });
    expect(placeOrder(shop(), shown(2_400), placing).result).toMatchObject({ kind: "accepted" });
    expect(placeOrder(shop(), shown(2_399), placing)).toEqual({
      messages: [],
      result: { kind: "price_changed", expectedCents: 2_399, totalCents: 2_400n, currency: "EUR" },
    });
    expect(placeOrder(shop(), shown(0), placing).result).toMatchObject({ kind: "price_changed" });
  });

  it("names every key that it reads and writes", () => {
    const { messages } = placeOrder(shop(), request({ mug: 1 }), placing);
    const keys = placingKeys(request({ mug: 1 }), placing).map(({ subject }) => subject);
    expect(keys).toEqual(["order.created.ord_1", "order.catalogue_item.mug"]);
    expect(keys).toEqual(expect.arrayContaining(messages.map(({ subject }) => subject)));
  });

  it("accepts the same order when it decides again on what it has stored itself", () => {
    const view = shop();
    view.store(placeOrder(view, request({ mug: 1 }), placing).messages);
    view.store([message(catalogueItem, "mug", { sku: "mug", unitPriceCents: 9_999n, currency: "EUR" })]);
    const again = placeOrder(view, request({ mug: 1 }), placing);
    expect(again.messages).toEqual([]);
    expect(again.result).toMatchObject({ kind: "accepted", order: { orderId: "ord_1", totalCents: 1_200n } });
  });

  it("finds the first order when the key comes again with the same request, whatever the prices are now", () => {
    const view = shop();
    const first = placeOrder(view, request({ mug: 1 }), placing);
    view.store(first.messages);
    view.store([message(catalogueItem, "mug", { sku: "mug", unitPriceCents: 9_999n, currency: "EUR" })]);
    const { order } = first.result as { order: Order };
    const later = timestampFromDate(new Date("2026-01-02T00:00:00Z"));
    expect(placeOrder(view, request({ mug: 1 }), { ...placing, attemptId: "a2", now: later })).toEqual({
      messages: [],
      result: { kind: "replayed", order },
    });
  });

  it("refuses a key that was used for another request", () => {
    const view = shop();
    view.store(placeOrder(view, request({ mug: 1 }), placing).messages);
    const other = { ...placing, attemptId: "a2", requestHash: "r2" };
    expect(placeOrder(view, request({ mug: 2 }), other)).toEqual({
      messages: [],
      result: { kind: "key_reused" },
    });
  });

  it("names every sku that is not in the catalogue, and leaves the key unused", () => {
    expect(placeOrder(shop(), request({ ghost: 1, mug: 1, spirit: 1 }), placing)).toEqual({
      messages: [],
      result: { kind: "unknown_sku", skus: ["ghost", "spirit"] },
    });
  });

  it("refuses two currencies in one order", () => {
    expect(placeOrder(shop(), request({ mug: 1, tee: 1 }), placing)).toEqual({
      messages: [],
      result: { kind: "mixed_currencies", currencies: ["EUR", "USD"] },
    });
  });

  it.each(["XYZ", "BGN", ""])("refuses the currency %j, which is none", (currency) => {
    const view = catalogue({ mug: [1n, currency] });
    expect(placeOrder(view, request({ mug: 1 }), placing)).toEqual({
      messages: [],
      result: { kind: "unknown_currency", currency },
    });
  });

  it.each([
    [9_999_999n, 10_000, "accepted"],
    [10_000_000n, 10_000, "total_too_large"],
    [BigInt(Number.MAX_SAFE_INTEGER), 10_000, "total_too_large"],
  ])("at %d cents each, %d make an order that is %s", (cents, quantity, kind) => {
    const view = catalogue({ yacht: [cents, "EUR"] });
    expect(placeOrder(view, request({ yacht: quantity }), placing).result.kind).toBe(kind);
  });

  it("places a trial without an address", () => {
    const { shipping_address: _, ...rest } = body;
    const trial = OrderBody.parse({ ...rest, customer: { ...body.customer, plan: "trial" } });
    const { result } = placeOrder(shop(), trial, placing);
    expect(result.kind === "accepted" && result.order.shippingAddress).toBeUndefined();
  });
});

describe("requestCancel()", () => {
  it("carries the order, once, and answers with the first request ever after", () => {
    const view = shop();
    view.store(placeOrder(view, request({ mug: 1 }), placing).messages);
    const first = requestCancel(view, "ord_1", now);
    expect(first.messages.map(({ subject }) => subject)).toEqual(["order.cancel_requested.ord_1"]);
    expect(first.result?.order).toEqual(view.get(orderCreated, "ord_1")?.order);
    view.store(first.messages);
    const later = timestampFromDate(new Date("2026-02-01T00:00:00Z"));
    expect(requestCancel(view, "ord_1", later)).toEqual({ messages: [], result: first.result });
  });

  it("knows nothing of an order that was never placed", () => {
    expect(requestCancel(shop(), "ord_1", now)).toEqual({ messages: [], result: undefined });
  });
});

describe("price", () => {
  const priced = (unitPriceCents: bigint, currency = "EUR") =>
    create(ItemPricedSchema, { sku: "mug", unitPriceCents, currency });

  it("takes a new price, a new currency and a new item into the catalogue", () => {
    const view = new MemoryView();
    for (const [index, event] of [priced(1_200n), priced(1_300n), priced(1_300n, "USD")].entries()) {
      expect(view.handle(price, event, { seq: index + 1 }).subjects).toEqual(["order.catalogue_item.mug"]);
      const { sku, unitPriceCents, currency } = event;
      expect(view.get(catalogueItem, "mug")).toMatchObject({ sku, unitPriceCents, currency });
    }
  });

  it("does nothing for an event that comes again, or after a later one", () => {
    const view = new MemoryView();
    view.handle(price, priced(1_200n), { seq: 1 });
    view.handle(price, priced(1_300n), { seq: 2 });
    expect(view.handle(price, priced(1_300n), { seq: 2 }).subjects).toEqual([]);
    expect(view.handle(price, priced(1_200n), { seq: 1 }).subjects).toEqual([]);
  });
});
