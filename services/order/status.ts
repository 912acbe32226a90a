import type { MessageShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { CheckoutStateSchema } from "../../gen/shop/checkout/v1/checkout_state_pb.ts";
import { Problem, readOrderId } from "../../lib/mod.ts";
import { checkoutState, key, type Ledger, orderCreated, viewLast } from "../../nats/mod.ts";
import type * as api from "./api.ts";
import type { Capacity } from "./capacity.ts";
import type { Order } from "./decide.ts";

/** The coordinator's ledger, which this service views and never decides upon. */
export const CHECKOUT = "CHECKOUT";

/** What answers about orders are read from. */
export interface Source {
  jsm: JetStreamManager;
  ledger: Ledger;
  /** Default: there is always room. */
  capacity?: Capacity;
}

/** An order and where it stands. */
export interface Standing {
  order: Order;
  state: string;
  /** Empty unless the order is being or was cancelled. */
  reason: string;
  /** Oldest first; the first one is `created`. */
  history: { state: string; at?: Timestamp | undefined; cause: string }[];
}

/**
 * Where the order stands. A moment old at most, but never older than the answer to its `POST`: until the coordinator has
 * seen an order, it is read from this service's own ledger.
 *
 * @throws {Problem} 404 if there is no such order.
 */
export async function findOrder({ jsm, ledger }: Source, text: string): Promise<Standing> {
  const orderId = readOrderId(text, unknownOrder);
  const checkout = await viewLast(jsm, CHECKOUT, key(checkoutState, orderId));
  const standing = checkout && fromCheckout(checkout);
  if (standing !== undefined) return standing;
  const { value } = await ledger.read(key(orderCreated, orderId));
  if (value?.order === undefined) throw unknownOrder(orderId);
  return justCreated(value.order);
}

/** Undefined for a snapshot without an order, which the coordinator never stores. */
export function fromCheckout(checkout: MessageShape<typeof CheckoutStateSchema>): Standing | undefined {
  const { order, state, reason, history } = checkout;
  return order && { order, state, reason, history };
}

/** An order that the coordinator has not seen yet. */
export function justCreated(order: Order): Standing {
  const { placedAt: at } = order;
  return {
    order,
    state: "created",
    reason: "",
    history: [{ state: "created", ...(at && { at }), cause: orderCreated.subject }],
  };
}

export function hasEnded({ state }: Standing): boolean {
  return state === "completed" || state === "cancelled";
}

export function unknownOrder(orderId: string): Problem {
  return new Problem(404, "unknown-order", {
    title: "Unknown order",
    detail: `There is no order ${JSON.stringify(orderId)}`,
  });
}

/** `GET /orders/{id}`. */
export function toJson(standing: Standing): api.Order {
  const { order, history } = standing;
  return {
    ...toSummary(standing),
    lines: order.lines.map(({ sku, quantity, unitPriceCents }) => ({
      sku,
      quantity,
      unit_price_cents: Number(unitPriceCents),
    })),
    history: history.map(({ state, at, cause }) => ({ state, at: toTime(at), cause })),
  };
}

/** One order of a list. */
export function toSummary({ order, state, reason }: Standing): api.OrderSummary {
  return {
    order_id: order.orderId,
    state,
    ...(reason !== "" && { reason }),
    total_cents: Number(order.totalCents),
    currency: order.currency,
    placed_at: toTime(order.placedAt),
  };
}

/** RFC 3339, in UTC. */
export function toTime(timestamp: Timestamp | undefined): string | undefined {
  return timestamp && timestampDate(timestamp).toISOString();
}
