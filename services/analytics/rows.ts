/** What one batch adds to the tables (`tables.ts`), each row once. Times are RFC 3339 in UTC, days the first ten characters of one. */
export interface Rows {
  orders: Map<string, OrderRow>;
  lines: Map<string, LineRow>;
  transitions: Map<string, TransitionRow>;
  payments: Map<string, PaymentRow>;
  refunds: Map<string, RefundRow>;
  revenue: Map<string, RevenueRow>;
  stock: Map<string, StockRow>;
  movements: Map<string, MovementRow>;
  releases: Map<string, ReleaseRow>;
  screenings: Map<string, ScreeningRow>;
  shipments: Map<string, ShipmentRow>;
  mails: Map<string, MailRow>;
}

/** A field that is not there is left as it is. */
export interface OrderRow {
  order_id: string;
  customer_id: string;
  plan: string;
  shipping_priority: string;
  country: string | undefined;
  currency: string;
  total_cents: number;
  placed_at: string;
  /** Transitions that had happened by then: which of two states is the newer one. 0 where none is known. */
  version: number;
  state?: string;
  reason?: string;
  state_since?: string;
  ended_at?: string;
  cancel_requested_at?: string;
}

export interface LineRow {
  order_id: string;
  line: number;
  sku: string;
  quantity: number;
  unit_price_cents: number;
}

/** That an order entered a state. It is counted if it is not known yet, and with it how long the order was in the one before. */
export interface TransitionRow {
  order_id: string;
  /** 0 for `created`. */
  n: number;
  state: string;
  entered_at: string;
  cause: string;
  /** Of the cancellation, of an order that enters `cancelled`; empty else. */
  reason: string;
  /** On which the order was placed. */
  placed_on: string;
  left_state: string | undefined;
  left_after_ms: number | undefined;
}

export interface PaymentRow {
  order_id: string;
  /** Of the last message in PAYMENT that is counted. */
  seq: number;
  status: "captured" | "declined" | "voided";
  amount_cents?: number;
  currency?: string;
  capture_id?: string;
  decline_code?: string;
  captured_at?: string;
  declined_at?: string;
  voided_at?: string;
}

export interface RefundRow {
  order_id: string;
  amount_cents: number;
  currency: string;
  refund_id: string;
  refunded_at: string;
}

/** What is added to a day's revenue. */
export interface RevenueRow {
  day: string;
  currency: string;
  captures: number;
  captured_cents: number;
  refunds: number;
  refunded_cents: number;
}

export interface StockRow {
  sku: string;
  available: number;
  reserved: number;
  sold: number;
  unit_price_cents: number;
  currency: string;
  seq: number;
  changed_at: string;
}

export interface MovementRow {
  /** Of the message in INVENTORY. */
  seq: number;
  sku: string;
  /** `short`: that much was asked for, and none of the order reserved. */
  kind: "reserved" | "released" | "short";
  quantity: number;
  order_id: string;
  moved_at: string;
}

/** That an order gives back whatever it has reserved. */
export interface ReleaseRow {
  seq: number;
  order_id: string;
  moved_at: string;
}

export interface ScreeningRow {
  order_id: string;
  /** Of the last message in FRAUD that is counted. */
  seq: number;
  outcome: "cleared" | "flagged" | "approved" | "rejected" | "expired";
  rules?: string[];
  reviewer?: string;
  screened_at?: string;
  expires_at?: string;
  decided_at?: string;
}

export interface ShipmentRow {
  order_id: string;
  outcome: "shipped" | "activated" | "failed";
  carrier?: string;
  tracking_number?: string;
  failure?: string;
  concluded_at: string;
}

export interface MailRow {
  order_id: string;
  kind: string;
  sent_at: string;
}

export function newRows(): Rows {
  return {
    orders: new Map(),
    lines: new Map(),
    transitions: new Map(),
    payments: new Map(),
    refunds: new Map(),
    revenue: new Map(),
    stock: new Map(),
    movements: new Map(),
    releases: new Map(),
    screenings: new Map(),
    shipments: new Map(),
    mails: new Map(),
  };
}
