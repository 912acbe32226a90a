import { z } from "zod";
import { Cents, Currency, type Operation, OrderId, oneOf, pageLimit, paging, Time } from "../../lib/mod.ts";
import { orderStates } from "../../nats/mod.ts";
import { IdempotencyKey, OrderBody } from "./request.ts";

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;
const MAX_ITEMS = 1_000;

/** An entry of an order's history, from 1. */
export const LastEventId = z.string().regex(/^\d{0,9}$/);

const Reason = z.string().meta({ description: "Why the order is being or was cancelled: out_of_stock, …" });

const Stuck = z
  .array(
    z.object({
      dead_letter: z.string().meta({ description: "Its id" }),
      service: z.string().meta({ description: "Who has to handle it" }),
      type: z.string().meta({ description: "What was parked: the subject without its id" }),
      status: z.enum(["parked", "discarded"]),
      since: Time.meta({ description: "When it was parked last" }),
    }),
  )
  .meta({ description: "Dead letters that hold the order up; it stays where it is until they are redriven" });
export type Stuck = z.infer<typeof Stuck>;

export const OrderSummary = z
  .object({
    order_id: z.string(),
    state: oneOf(orderStates),
    reason: Reason.optional(),
    stuck: Stuck.optional(),
    total_cents: Cents,
    currency: Currency,
    placed_at: Time.optional(),
  })
  .meta({ id: "OrderSummary" });
export type OrderSummary = z.infer<typeof OrderSummary>;

const lines = z.array(z.object({ sku: z.string(), quantity: z.int(), unit_price_cents: Cents }));

const PlacedOrder = z.object({ ...OrderSummary.shape, lines }).meta({ id: "PlacedOrder" });

const Cancellation = z.object({
  requested_at: Time.optional(),
  refused: z.string().optional().meta({ description: "Why the wish came too late, if it did" }),
});
export type Cancellation = z.infer<typeof Cancellation>;

const Refund = z.object({
  waits_for: z.enum(["provider", "person"]),
  reason: z.string(),
  since: Time.optional(),
  tries: z.int().optional().meta({ description: "How often the provider was asked" }),
  next_try_at: Time.optional(),
});
export type Refund = z.infer<typeof Refund>;

export const Order = z
  .object({
    ...PlacedOrder.shape,
    history: z
      .array(z.object({ state: oneOf(orderStates), at: Time.optional(), cause: z.string() }))
      .meta({ description: "Oldest first; `cause` is an event, by its subject without the id" }),
    cancellation: Cancellation.optional().meta({ description: "What became of a wish to cancel" }),
    refund: Refund.optional().meta({ description: "Whom an order that is `refunding` waits for" }),
  })
  .meta({ id: "Order" });
export type Order = z.infer<typeof Order>;

const CancelRequested = z
  .object({ ...OrderSummary.shape, cancel_requested_at: Time.optional() })
  .meta({ id: "CancelRequested" });
export type CancelRequested = z.infer<typeof CancelRequested>;

export const placeOrder = {
  id: "placeOrder",
  summary: "Places an order, one per Idempotency-Key, however often it is sent",
  description:
    "The same key and body again are answered alike, also after the order has ended. Prices come from the catalogue.",
  headers: { "idempotency-key": IdempotencyKey },
  body: OrderBody,
  answers: {
    202: {
      description: "The order is stored",
      schema: PlacedOrder,
      headers: {
        location: "Where the order is looked up",
        "idempotency-replayed": "`true` if it was placed by an earlier request",
      },
    },
  },
  problems: {
    400: ["idempotency-key-missing", "idempotency-key-malformed"],
    409: ["request-in-flight", "price-changed"],
    422: ["idempotency-key-reused", "unknown-sku", "mixed-currencies", "unknown-currency", "total-too-large"],
    429: ["too-many-requests"],
    503: ["store-nearly-full"],
  },
} satisfies Operation;

const Sku = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "Must be 1 to 64 letters, digits, - or _");

const Item = z
  .object({ sku: z.string(), unit_price_cents: Cents, currency: Currency })
  .meta({ id: "Item", description: "What is on sale, and at which price orders are placed from now on" });
export type Item = z.infer<typeof Item>;

export const listItems = {
  id: "listItems",
  summary: "The catalogue by sku, as orders are priced by it; a moment old at most",
  query: {
    limit: pageLimit({ limit: MAX_LIMIT, max: MAX_ITEMS }),
    cursor: Sku.optional().meta({
      description: "The next_cursor of an earlier page: the sku that it ended with",
    }),
  },
  answers: { 200: z.object({ items: z.array(Item), next_cursor: z.string().optional() }) },
} satisfies Operation;

export const listOrders = {
  id: "listOrders",
  summary: "Orders, oldest first and a moment old at most",
  description:
    "A page may hold fewer than `limit`, even none, and there is more for as long as there is a `next_cursor`. A cursor belongs to the filter that it came with.",
  query: {
    state: z.enum(orderStates, `Must be one of ${orderStates.join(", ")}`).optional(),
    stuck: z
      .literal("true", "Must be true")
      .optional()
      .meta({ description: "`true`: only orders that dead letters hold up" }),
    ...paging({ limit: DEFAULT_LIMIT, max: MAX_LIMIT }),
  },
  answers: { 200: z.object({ orders: z.array(OrderSummary), next_cursor: z.string().optional() }) },
} satisfies Operation;

export const getOrder = {
  id: "getOrder",
  summary: "Where an order stands, with its history",
  path: { id: OrderId },
  answers: { 200: Order },
  problems: { 404: ["unknown-order"] },
} satisfies Operation;

export const followOrder = {
  id: "followOrder",
  summary: "The transitions of an order as they happen: Server-Sent Events, until it ends",
  path: { id: OrderId },
  headers: {
    "last-event-id": LastEventId.optional().meta({
      description: "Only later ones are sent; all of them if the order's history does not reach it",
    }),
  },
  answers: {
    200: {
      description:
        'Events named `transition`, numbered from 1, with `{"order_id","state","at","cause","reason"?}` as their data',
      schema: z.string(),
      types: ["text/event-stream"],
    },
    204: { description: "The order has ended, and all was sent before" },
  },
  problems: { 400: ["malformed-last-event-id"], 404: ["unknown-order"], 503: ["too-many-streams"] },
} satisfies Operation;

export const cancelOrder = {
  id: "cancelOrder",
  summary: "Asks for an order to be cancelled; the coordinator has the last word",
  path: { id: OrderId },
  answers: { 202: { description: "The wish is stored", schema: CancelRequested } },
  problems: { 404: ["unknown-order"], 409: ["too-late-to-cancel", "already-cancelled"] },
} satisfies Operation;

export { getTimeline } from "./timeline_api.ts";
