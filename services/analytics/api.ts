import { z } from "zod";
import { Cents, Currency, type Operation, OrderId, oneOf, pageLimit, Time } from "../../lib/mod.ts";
import { orderStates } from "../../nats/mod.ts";
import { place, Text } from "./cursor.ts";

export { orderStates };

const State = oneOf(orderStates);
const Count = z.int().min(0);
/** In UTC. */
const Day = z.iso
  .date("Must be a day such as 2026-01-31")
  .refine((day) => day >= "1900", "Must be a day from 1900-01-01 on");
const Milliseconds = z.int().min(0).meta({ description: "In milliseconds" });
const Reasons = z.array(z.object({ reason: z.string(), orders: Count }));
const problems = { 503: ["database-unavailable"] };

const Money = {
  captures: Count,
  captured_cents: Cents,
  refunds: Count,
  refunded_cents: Cents,
  net_cents: Cents,
};

export const Summary = z
  .object({
    orders: z.object({ placed: Count, live: Count, completed: Count, cancelled: Count }),
    states: z
      .array(z.object({ state: State, orders: Count }))
      .meta({ description: "What orders are in now" }),
    cancelled: Reasons,
    revenue: z.array(z.object({ currency: Currency, ...Money })),
  })
  .meta({ id: "Summary" });
export type Summary = z.infer<typeof Summary>;

export const getSummary = {
  id: "getSummary",
  summary: "All orders and all money since the beginning",
  answers: { 200: Summary },
  problems,
} satisfies Operation;

const Span = {
  from: Day.optional().meta({ description: "First day, in UTC" }),
  to: Day.optional().meta({ description: "Last day, in UTC" }),
};

export const Funnel = z
  .object({
    from: z.string().optional(),
    to: z.string().optional(),
    placed: Count,
    states: z.array(
      z.object({
        state: State,
        entered: Count.meta({ description: "Orders that have ever been in it" }),
        share: z.number().min(0).max(1).meta({ description: "Of those that were placed" }),
        left: Count,
        mean_ms: Milliseconds.optional(),
        longest_ms: Milliseconds.optional(),
      }),
    ),
    cancelled: Reasons,
  })
  .meta({ id: "Funnel" });
export type Funnel = z.infer<typeof Funnel>;

export const getFunnel = {
  id: "getFunnel",
  summary: "How far the orders that were placed on some days have got, and how long they were in each state",
  query: Span,
  answers: { 200: Funnel },
  problems,
} satisfies Operation;

export const Revenue = z
  .object({
    by: z.string(),
    revenue: z.array(z.object({ period: z.string(), currency: Currency, ...Money })),
    next_cursor: z.string().optional(),
  })
  .meta({ id: "Revenue" });
export type Revenue = z.infer<typeof Revenue>;

export const getRevenue = {
  id: "getRevenue",
  summary: "What was captured and refunded, newest period first",
  description:
    "A period is named by its first day. A capture counts on the day on which it was stored, in UTC.",
  query: {
    by: z.enum(["day", "week", "month"]).default("day"),
    ...Span,
    limit: pageLimit({ limit: 31, max: 400 }),
    cursor: place(Day),
  },
  answers: { 200: Revenue },
  problems,
} satisfies Operation;

const OrderRow = {
  order_id: z.string(),
  plan: z.string(),
  shipping_priority: z.string(),
  country: z.string().optional(),
  total_cents: Cents,
  currency: Currency,
  state: State,
  reason: z.string().optional(),
  placed_at: Time,
  state_since: Time,
  ended_at: Time.optional(),
  cancel_requested_at: Time.optional(),
};

export const Orders = z
  .object({ orders: z.array(z.object(OrderRow)), next_cursor: z.string().optional() })
  .meta({ id: "Orders" });
export type Orders = z.infer<typeof Orders>;

export const listOrders = {
  id: "listOrders",
  summary: "Orders, newest first",
  query: {
    state: z.enum(orderStates).optional(),
    ...Span,
    limit: pageLimit({ limit: 50, max: 500 }),
    cursor: place(z.iso.datetime()),
  },
  answers: { 200: Orders },
  problems,
} satisfies Operation;

/** Nothing of the customer but the country and the plan, and nothing of the reviewer: nobody is asked who they are. */
export const Order = z
  .object({
    ...OrderRow,
    lines: z.array(z.object({ sku: z.string(), quantity: Count, unit_price_cents: Cents })),
    transitions: z.array(
      z.object({ state: State, at: Time, cause: z.string(), lasted_ms: Milliseconds.optional() }),
    ),
    payment: z
      .object({
        status: oneOf(["captured", "declined", "voided"]),
        amount_cents: Cents.optional(),
        currency: Currency.optional(),
        capture_id: z.string().optional(),
        decline_code: z.string().optional(),
        captured_at: Time.optional(),
        declined_at: Time.optional(),
        voided_at: Time.optional(),
      })
      .optional(),
    refund: z
      .object({ amount_cents: Cents, currency: Currency, refund_id: z.string(), refunded_at: Time })
      .optional(),
    screening: z
      .object({
        outcome: oneOf(["cleared", "flagged", "approved", "rejected", "expired"]),
        screened_at: Time.optional(),
        expires_at: Time.optional(),
        decided_at: Time.optional(),
      })
      .optional(),
    shipment: z
      .object({
        outcome: oneOf(["shipped", "activated", "failed"]),
        carrier: z.string().optional(),
        tracking_number: z.string().optional(),
        failure: z.string().optional(),
        concluded_at: Time,
      })
      .optional(),
    stock_movements: z.array(
      z.object({ sku: z.string(), kind: z.string(), quantity: z.int(), moved_at: Time }),
    ),
    mails: z.array(z.object({ kind: z.string(), sent_at: Time })),
  })
  .meta({ id: "Order" });
export type Order = z.infer<typeof Order>;

export const getOrder = {
  id: "getOrder",
  summary: "All that is counted of one order",
  path: { id: OrderId },
  answers: { 200: Order },
  problems: { ...problems, 404: ["unknown-order"] },
} satisfies Operation;

export const StockMovements = z
  .object({
    stock_movements: z.array(
      z.object({
        sku: z.string(),
        kind: oneOf(["reserved", "released", "short", "adjusted"]),
        quantity: z.int(),
        order_id: z.string().optional(),
        moved_at: Time,
      }),
    ),
    next_cursor: z.string().optional(),
  })
  .meta({ id: "StockMovements" });
export type StockMovements = z.infer<typeof StockMovements>;

export const listStockMovements = {
  id: "listStockMovements",
  summary: "What became of stock, newest first",
  description:
    "`reserved` and `released` are by orders, `short` is what an order asked for in vain, and `adjusted` the difference " +
    "that an operator has made.",
  query: {
    sku: Text.optional(),
    limit: pageLimit({ limit: 50, max: 500 }),
    cursor: place(z.int()),
  },
  answers: { 200: StockMovements },
  problems,
} satisfies Operation;

const Progress = z.object({
  started_at: Time,
  read: Count.meta({ description: "Messages of all streams that it has read" }),
  total: Count.meta({ description: "Messages that there are to read" }),
});

export const ProjectionStatus = z
  .object({
    database: oneOf(["postgresql", "pglite"]),
    counting: z.boolean().meta({ description: "Whether what comes is counted now" }),
    positions: z.array(
      z.object({
        stream: z.string(),
        position: Count.meta({
          description: "Sequence of the last message that is counted, or will never be",
        }),
        changed_at: Time,
      }),
    ),
    parked: Count.meta({ description: "Messages that were left out and are dead letters" }),
    rebuild: Progress.optional(),
    last_rebuild: z
      .object({
        started_at: Time,
        ended_at: Time,
        refused: z
          .string()
          .optional()
          .meta({ description: "Why it has not taken the place of what answers; absent if it has" }),
      })
      .optional()
      .meta({ description: "The last one that this process has ended" }),
  })
  .meta({ id: "Projection" });
export type ProjectionStatus = z.infer<typeof ProjectionStatus>;

export const getProjection = {
  id: "getProjection",
  summary: "How far each stream is counted",
  answers: { 200: ProjectionStatus },
  problems,
} satisfies Operation;

export const startRebuild = {
  id: "startRebuild",
  summary: "Counts everything anew, beside what is there, and then takes its place",
  answers: { 202: ProjectionStatus },
  problems: { ...problems, 409: ["rebuild-under-way", "standing-by"] },
} satisfies Operation;
