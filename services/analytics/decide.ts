import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { CheckoutStateSchema } from "../../gen/shop/checkout/v1/checkout_state_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  type Contract,
  checkoutState,
  fulfillmentFailed,
  item,
  mail,
  orderActivated,
  orderCancelRequested,
  orderCleared,
  orderCreated,
  orderFlagged,
  orderShipped,
  paymentCaptured,
  paymentDeclined,
  paymentRefunded,
  paymentVoided,
  reservation,
  reviewApproved,
  reviewExpired,
  reviewRejected,
  stockRejected,
} from "../../nats/contracts/mod.ts";
import type { Projected } from "../../nats/mod.ts";
import type { OrderRow, PaymentRow, RevenueRow, Rows, ScreeningRow } from "./rows.ts";

type Order = MessageShape<typeof OrderSchema>;
type Checkout = MessageShape<typeof CheckoutStateSchema>;

/**
 * Adds to the rows of a batch what a message says. Messages of one stream come in its order, each once, but for snapshots, which
 * come after the others and of which the last may stand for those before it. Messages of different streams come in any order: a
 * row takes from each stream what only that one says.
 */
export function count(rows: Rows, message: Projected): void {
  counterOf.get(message.contract.subject)?.(rows, message.value, message);
}

type Counter<S extends DescMessage> = (rows: Rows, value: MessageShape<S>, message: Projected) => void;

const counters: readonly (readonly [Contract, Counter<DescMessage>])[] = [
  counts(orderCreated, (rows, { order }) => {
    if (order === undefined) return;
    addOrder(rows, order);
    for (const [line, { sku, quantity, unitPriceCents }] of order.lines.entries()) {
      const row = { order_id: order.orderId, line, sku, quantity, unit_price_cents: Number(unitPriceCents) };
      rows.lines.set(`${order.orderId} ${line}`, row);
    }
  }),
  counts(orderCancelRequested, (rows, { order, requestedAt }, { storedAt }) => {
    if (order !== undefined) addOrder(rows, order).cancel_requested_at = toText(requestedAt, storedAt);
  }),
  counts(checkoutState, (rows, { order, state, reason, history }) => {
    if (order === undefined) return;
    const row = addOrder(rows, order);
    let since: string | undefined;
    // All of them: it may stand for the snapshots that said the others.
    for (const n of history.keys()) since = addTransition(rows, row, { n, reason, history });
    // A dead letter that is redriven may be older than what is known.
    if (since === undefined || history.length < row.version) return;
    Object.assign(row, { version: history.length, state, reason, state_since: since });
    if (isEnd(state)) row.ended_at = since;
  }),
  counts(paymentCaptured, (rows, { orderId, captureId, amountCents, currency }, { seq, storedAt }) => {
    const amount = Number(amountCents);
    const at = storedAt.toISOString();
    const details = { amount_cents: amount, currency, capture_id: captureId, captured_at: at };
    addPayment(rows, { order_id: orderId, seq, status: "captured", ...details });
    const day = revenueOf(rows, at, currency);
    day.captures += 1;
    day.captured_cents += amount;
  }),
  counts(paymentDeclined, (rows, { orderId, declineCode }, { seq, storedAt }) => {
    const details = { decline_code: declineCode, declined_at: storedAt.toISOString() };
    addPayment(rows, { order_id: orderId, seq, status: "declined", ...details });
  }),
  counts(paymentVoided, (rows, { orderId }, { seq, storedAt }) => {
    addPayment(rows, { order_id: orderId, seq, status: "voided", voided_at: storedAt.toISOString() });
  }),
  counts(paymentRefunded, (rows, { orderId, refundId, amountCents, currency }, { storedAt }) => {
    const amount = Number(amountCents);
    const at = storedAt.toISOString();
    rows.refunds.set(orderId, {
      order_id: orderId,
      amount_cents: amount,
      currency,
      refund_id: refundId,
      refunded_at: at,
    });
    const day = revenueOf(rows, at, currency);
    day.refunds += 1;
    day.refunded_cents += amount;
  }),
  counts(item, (rows, { sku, available, reserved, sold, unitPriceCents, currency }, { seq, storedAt }) => {
    rows.stock.set(`${sku} ${seq}`, {
      sku,
      available: Number(available),
      reserved: Number(reserved),
      sold: Number(sold),
      unit_price_cents: Number(unitPriceCents),
      currency,
      seq,
      changed_at: storedAt.toISOString(),
    });
  }),
  counts(reservation, (rows, { orderId, status, lines }, { seq, storedAt }) => {
    const moved_at = storedAt.toISOString();
    // What is released, only the reservation has said, which may be in this batch or long since counted.
    if (status === "released") rows.releases.set(orderId, { seq, order_id: orderId, moved_at });
    if (status !== "reserved") return;
    for (const { sku, quantity } of lines) {
      const row = { seq, sku, kind: "reserved", quantity, order_id: orderId, moved_at } as const;
      rows.movements.set(`${seq} ${sku}`, row);
    }
  }),
  counts(stockRejected, (rows, { orderId, shortages }, { seq, storedAt }) => {
    const moved_at = storedAt.toISOString();
    for (const { sku, requested: quantity } of shortages) {
      const row = { seq, sku, kind: "short", quantity, order_id: orderId, moved_at } as const;
      rows.movements.set(`${seq} ${sku}`, row);
    }
  }),
  counts(orderCleared, (rows, { orderId }, { seq, storedAt }) => {
    addScreening(rows, { order_id: orderId, seq, outcome: "cleared", screened_at: storedAt.toISOString() });
  }),
  counts(orderFlagged, (rows, { orderId, rules, expiresAt }, { seq, storedAt }) => {
    addScreening(rows, {
      order_id: orderId,
      seq,
      outcome: "flagged",
      rules,
      screened_at: storedAt.toISOString(),
      ...(expiresAt && { expires_at: timestampDate(expiresAt).toISOString() }),
    });
  }),
  counts(reviewApproved, (rows, { orderId, reviewer }, { seq, storedAt }) => {
    const decided_at = storedAt.toISOString();
    addScreening(rows, { order_id: orderId, seq, outcome: "approved", reviewer, decided_at });
  }),
  counts(reviewRejected, (rows, { orderId, reviewer }, { seq, storedAt }) => {
    const decided_at = storedAt.toISOString();
    addScreening(rows, { order_id: orderId, seq, outcome: "rejected", reviewer, decided_at });
  }),
  counts(reviewExpired, (rows, { orderId }, { seq, storedAt }) => {
    addScreening(rows, { order_id: orderId, seq, outcome: "expired", decided_at: storedAt.toISOString() });
  }),
  counts(orderShipped, (rows, { orderId, carrier, trackingNumber, shippedAt }, { storedAt }) => {
    rows.shipments.set(orderId, {
      order_id: orderId,
      outcome: "shipped",
      carrier,
      tracking_number: trackingNumber,
      concluded_at: toText(shippedAt, storedAt),
    });
  }),
  counts(orderActivated, (rows, { orderId, activatedAt }, { storedAt }) => {
    const concluded_at = toText(activatedAt, storedAt);
    rows.shipments.set(orderId, { order_id: orderId, outcome: "activated", concluded_at });
  }),
  counts(fulfillmentFailed, (rows, { orderId, failure, failedAt }, { storedAt }) => {
    const concluded_at = toText(failedAt, storedAt);
    rows.shipments.set(orderId, { order_id: orderId, outcome: "failed", failure, concluded_at });
  }),
  counts(mail, (rows, { orderId, kind, sentAt }, { storedAt }) => {
    rows.mails.set(`${orderId} ${kind}`, { order_id: orderId, kind, sent_at: toText(sentAt, storedAt) });
  }),
];

/** What is counted. */
export const counted: readonly Contract[] = counters.map(([contract]) => contract);

/** Those of which a message says all that those before it about the same order have said. */
export const snapshots: readonly Contract[] = [checkoutState];

const counterOf = new Map(counters.map(([{ subject }, count]) => [subject, count]));

function counts<S extends DescMessage>(
  contract: Contract<S>,
  count: Counter<S>,
): readonly [Contract, Counter<DescMessage>] {
  // The message is one of the contract that it comes with.
  return [contract, count as Counter<DescMessage>];
}

/** What every message that carries an order says of it: an order never changes. */
function addOrder({ orders }: Rows, order: Order): OrderRow {
  const { orderId, customer, shippingAddress, placedAt } = order;
  const known = orders.get(orderId);
  if (known !== undefined) return known;
  const row: OrderRow = {
    order_id: orderId,
    customer_id: customer?.id ?? "",
    plan: customer?.plan ?? "",
    shipping_priority: order.shippingPriority,
    country: shippingAddress?.country,
    currency: order.currency,
    total_cents: Number(order.totalCents),
    placed_at: toText(placedAt),
    version: 0,
  };
  orders.set(orderId, row);
  return row;
}

/** A transition that the table knows already is not counted again. @returns When it happened. */
function addTransition(
  { transitions }: Rows,
  { order_id, placed_at }: OrderRow,
  { n, reason, history }: Pick<Checkout, "history" | "reason"> & { n: number },
): string | undefined {
  const transition = history[n];
  if (transition === undefined) return undefined;
  const { state, at, cause } = transition;
  const before = history[n - 1];
  const entered = at === undefined ? placed_at : toText(at);
  transitions.set(`${order_id} ${n}`, {
    order_id,
    n,
    state,
    entered_at: entered,
    cause,
    reason: state === "cancelled" ? reason : "",
    placed_on: toDay(placed_at),
    left_state: before?.state,
    left_after_ms: at && before?.at && Math.max(0, timestampMs(at) - timestampMs(before.at)),
  });
  return entered;
}

function addPayment({ payments }: Rows, row: PaymentRow): void {
  payments.set(row.order_id, newest(payments.get(row.order_id), row));
}

function addScreening({ screenings }: Rows, row: ScreeningRow): void {
  screenings.set(row.order_id, newest(screenings.get(row.order_id), row));
}

/** What both say, and where they differ, the later one. */
function newest<T extends { seq: number }>(known: T | undefined, row: T): T {
  return known === undefined || known.seq < row.seq ? { ...known, ...row } : { ...row, ...known };
}

function revenueOf({ revenue }: Rows, at: string, currency: string): RevenueRow {
  const day = toDay(at);
  const key = `${day} ${currency}`;
  const none = { captures: 0, captured_cents: 0, refunds: 0, refunded_cents: 0 };
  const row = revenue.get(key) ?? { day, currency, ...none };
  revenue.set(key, row);
  return row;
}

function isEnd(state: string): boolean {
  return state === "completed" || state === "cancelled";
}

/** RFC 3339 in UTC; of the first of these times that there is. */
function toText(...times: (Timestamp | Date | undefined)[]): string {
  const time = times.find((candidate) => candidate !== undefined) ?? new Date(0);
  return (time instanceof Date ? time : timestampDate(time)).toISOString();
}

/** In UTC. */
function toDay(at: string): string {
  return at.slice(0, 10);
}
