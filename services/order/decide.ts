import type { MessageShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { ItemPricedSchema } from "../../gen/shop/inventory/v1/item_priced_pb.ts";
import type { CatalogueItemSchema } from "../../gen/shop/order/v1/catalogue_item_pb.ts";
import type { OrderCancelRequestedSchema } from "../../gen/shop/order/v1/order_cancel_requested_pb.ts";
import type { OrderCreatedSchema } from "../../gen/shop/order/v1/order_created_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  catalogueItem,
  itemPriced,
  type Key,
  key,
  message,
  orderCancelRequested,
  orderCreated,
} from "../../nats/contracts/mod.ts";
import type { Decision, Handler, View } from "../../nats/mod.ts";
import { isCurrency, MAX_TOTAL_CENTS, type OrderRequest } from "./request.ts";

export type Order = MessageShape<typeof OrderSchema>;
export type CancelRequest = MessageShape<typeof OrderCancelRequestedSchema>;

/** Keeps the service's own copy of the catalogue: prices are known here also while inventory is away. */
const price: Handler<typeof ItemPricedSchema> = {
  contract: itemPriced,
  keys: ({ sku }) => [key(catalogueItem, sku)],
  decide(view, { sku, unitPriceCents, currency }, { seq }) {
    const before = view.get(catalogueItem, sku);
    const pricedSeq = BigInt(seq);
    if (before !== undefined && before.pricedSeq >= pricedSeq) return { kind: "done", messages: [] };
    return {
      kind: "done",
      messages: [message(catalogueItem, sku, { sku, unitPriceCents, currency, pricedSeq })],
    };
  },
};

export const handlers = [price] as const;

/** What the shell knows of a request besides its body. */
export interface Placing {
  /** Made from the idempotency key: whoever sends the key again means this order. */
  orderId: string;
  /** Of the secret that the id was made with. */
  idSecretFingerprint: Uint8Array;
  requestHash: string;
  /** This request's and no other one's, be it of the same key. */
  attemptId: string;
  now: Timestamp;
}

/**
 * What became of a request to place an order.
 * - `accepted`: this order, now or by an earlier try of this very task.
 * - `replayed`: this order, by an earlier request with the same key and the same content.
 * - `key_reused`: the key was used before, for another request.
 * - the rest: nothing is stored, so that the key can be used for a corrected request.
 */
export type Placed =
  | { kind: "accepted"; order: Order }
  | { kind: "replayed"; order: Order }
  | { kind: "key_reused" }
  | { kind: "unknown_sku"; skus: string[] }
  | { kind: "mixed_currencies"; currencies: string[] }
  | { kind: "unknown_currency"; currency: string }
  | { kind: "total_too_large"; totalCents: bigint }
  | { kind: "price_changed"; expectedCents: number; totalCents: bigint; currency: string };

/** All that {@linkcode placeOrder} reads and writes. */
export function placingKeys({ lines }: OrderRequest, { orderId }: Placing): Key[] {
  return [key(orderCreated, orderId), ...lines.map(({ sku }) => key(catalogueItem, sku))];
}

/** Prices the order from the catalogue and stores it, unless it is there: one message is the order and its key's record. */
export function placeOrder(view: View, request: OrderRequest, placing: Placing): Decision<Placed> {
  const { orderId, idSecretFingerprint, requestHash, attemptId } = placing;
  const stored = view.get(orderCreated, orderId);
  if (stored !== undefined) {
    if (stored.requestHash !== requestHash) return nothing({ kind: "key_reused" });
    // An earlier try of this task was stored although its answer was lost.
    const kind = stored.attemptId === attemptId ? "accepted" : "replayed";
    return nothing({ kind, order: orderOf(stored) });
  }

  const items = request.lines.map(({ sku }) => view.get(catalogueItem, sku));
  const known = items.filter((item) => item !== undefined);
  if (known.length < items.length) {
    const skus = request.lines.filter((_line, index) => items[index] === undefined).map(({ sku }) => sku);
    return nothing({ kind: "unknown_sku", skus });
  }
  const currencies = [...new Set(known.map((item) => item.currency))];
  const [currency] = currencies;
  if (currency === undefined || currencies.length > 1) {
    return nothing({ kind: "mixed_currencies", currencies });
  }
  // Nobody could tell what its amounts are.
  if (!isCurrency(currency)) return nothing({ kind: "unknown_currency", currency });
  const lines = known.map((item, index) => priceLine(item, request.lines[index]?.quantity ?? 0));
  const totalCents = lines.reduce((sum, line) => sum + line.unitPriceCents * BigInt(line.quantity), 0n);
  if (totalCents > MAX_TOTAL_CENTS) return nothing({ kind: "total_too_large", totalCents });
  const { expected_total_cents: expectedCents } = request;
  if (expectedCents !== undefined && BigInt(expectedCents) !== totalCents) {
    return nothing({ kind: "price_changed", expectedCents, totalCents, currency });
  }

  const address = request.shipping_address;
  const created = message(orderCreated, orderId, {
    order: {
      orderId,
      customer: request.customer,
      lines,
      ...(address && { shippingAddress: toAddress(address) }),
      shippingPriority: request.shipping_priority,
      paymentToken: request.payment_token,
      totalCents,
      currency,
      placedAt: placing.now,
    },
    requestHash,
    attemptId,
    idSecretFingerprint,
  });
  return { messages: [created], result: { kind: "accepted", order: orderOf(created.value) } };
}

/**
 * Says once that the customer wants to cancel; asking again changes nothing and gets the first request back. Undefined
 * if there is no such order.
 */
export function requestCancel(
  view: View,
  orderId: string,
  now: Timestamp,
): Decision<CancelRequest | undefined> {
  const before = view.get(orderCancelRequested, orderId);
  if (before !== undefined) return { messages: [], result: before };
  const order = view.get(orderCreated, orderId)?.order;
  if (order === undefined) return { messages: [], result: undefined };
  const requested = message(orderCancelRequested, orderId, { order, requestedAt: now });
  return { messages: [requested], result: requested.value };
}

function nothing(result: Placed): Decision<Placed> {
  return { messages: [], result };
}

function orderOf({ order }: MessageShape<typeof OrderCreatedSchema>): Order {
  if (order === undefined) throw new TypeError("Cannot place an order: its record has none");
  return order;
}

function priceLine({ sku, unitPriceCents }: MessageShape<typeof CatalogueItemSchema>, quantity: number) {
  return { sku, quantity, unitPriceCents };
}

function toAddress({
  postal_code: postalCode,
  line2 = "",
  ...rest
}: NonNullable<OrderRequest["shipping_address"]>) {
  return { ...rest, line2, postalCode };
}
