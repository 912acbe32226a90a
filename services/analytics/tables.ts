import type { Generated } from "kysely";

/**
 * The tables of the projection, as `migrations/` makes them, for who asks. Sums and counts are whole numbers (`bigint`, read
 * as JavaScript numbers), money is in cents, times are UTC.
 */
export interface Tables {
  /** `stored_at`: when the message at the position was stored. */
  positions: { stream: string; position: number; stored_at: Date | null; changed_at: Generated<Date> };
  parked: { stream: string; seq: number };
  orders: {
    order_id: string;
    customer_id: string;
    plan: string;
    shipping_priority: string;
    country: string | null;
    currency: string;
    total_cents: number;
    placed_at: Date;
    version: number;
    state: string;
    reason: string;
    state_since: Date;
    ended_at: Date | null;
    cancel_requested_at: Date | null;
  };
  order_lines: { order_id: string; line: number; sku: string; quantity: number; unit_price_cents: number };
  transitions: { order_id: string; n: number; state: string; entered_at: Date; cause: string };
  payments: {
    order_id: string;
    seq: number;
    status: string;
    amount_cents: number | null;
    currency: string | null;
    capture_id: string | null;
    decline_code: string | null;
    captured_at: Date | null;
    declined_at: Date | null;
    voided_at: Date | null;
  };
  refunds: { order_id: string; amount_cents: number; currency: string; refund_id: string; refunded_at: Date };
  revenue_daily: {
    /** `2026-01-31`. */
    day: string;
    currency: string;
    captures: number;
    captured_cents: number;
    refunds: number;
    refunded_cents: number;
  };
  /** Orders that were placed on `day` and have entered `state`, however long after. */
  funnel_daily: { day: string; state: string; reason: string; orders: number };
  /** Times that an order that was placed on `day` has left `state`, and how long all of them were in it. */
  time_in_state_daily: { day: string; state: string; visits: number; total_ms: number; longest_ms: number };
  stock: {
    sku: string;
    available: number;
    reserved: number;
    sold: number;
    unit_price_cents: number;
    currency: string;
    seq: number;
    changed_at: Date;
  };
  /** `adjusted`: an operator has set the stock; `quantity` is the difference, and there is no order. */
  stock_movements: {
    seq: number;
    sku: string;
    kind: string;
    quantity: number;
    order_id: string | null;
    moved_at: Date;
  };
  screenings: {
    order_id: string;
    seq: number;
    outcome: string;
    rules: string[] | null;
    reviewer: string | null;
    screened_at: Date | null;
    expires_at: Date | null;
    decided_at: Date | null;
  };
  shipments: {
    order_id: string;
    outcome: string;
    carrier: string | null;
    tracking_number: string | null;
    failure: string | null;
    concluded_at: Date;
  };
  mails: { order_id: string; kind: string; sent_at: Date };
}
