import type { MessageShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { CheckoutStateSchema } from "../../gen/shop/checkout/v1/checkout_state_pb.ts";
import { Problem, readOrderId, toTime } from "../../lib/mod.ts";
import {
  checkoutState,
  key,
  type Ledger,
  type OpenLetter,
  type OpenLetters,
  orderCreated,
  viewLast,
} from "../../nats/mod.ts";
import type * as api from "./api.ts";
import type { Capacity } from "./capacity.ts";
import type { Order } from "./decide.ts";

/** The coordinator's ledger, which this service views and never decides upon. */
export const CHECKOUT = "CHECKOUT";

/** What answers about orders are read from. */
export interface Source {
  jsm: JetStreamManager;
  ledger: Ledger;
  /** By which orders are known that are held up. */
  letters: OpenLetters;
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
  /** Dead letters that hold it up. Default: not known. */
  stuck?: readonly OpenLetter[];
}

/**
 * Where the order stands. A moment old at most, but never older than the answer to its `POST`: until the coordinator has
 * seen an order, it is read from this service's own ledger.
 *
 * @throws {Problem} 404 if there is no such order.
 */
export async function findOrder(source: Source, text: string): Promise<Standing> {
  const { jsm, ledger, letters } = source;
  const orderId = readOrderId(text, unknownOrder);
  const checkout = await viewLast(jsm, CHECKOUT, key(checkoutState, orderId));
  const standing = checkout && fromCheckout(checkout);
  if (standing !== undefined) return withStuck(letters, standing);
  const { value } = await ledger.read(key(orderCreated, orderId));
  if (value?.order === undefined) throw unknownOrder(orderId);
  return withStuck(letters, justCreated(value.order));
}

/** An order with what holds it up, as it was a second ago at most. What has ended is held up by nothing. */
export async function withStuck(letters: OpenLetters, standing: Standing): Promise<Standing> {
  if (hasEnded(standing)) return standing;
  await letters.refresh();
  const { order, state } = standing;
  return { ...standing, stuck: letters.holding({ orderId: order.orderId, state }) };
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
export function toSummary({ order, state, reason, stuck = [] }: Standing): api.OrderSummary {
  return {
    order_id: order.orderId,
    state,
    ...(reason !== "" && { reason }),
    ...(stuck.length > 0 && { stuck: stuck.map(toStuck) }),
    total_cents: Number(order.totalCents),
    currency: order.currency,
    placed_at: toTime(order.placedAt),
  };
}

function toStuck({ id, service, type, status, parkedAt }: OpenLetter): api.Stuck[number] {
  const stands = status === "discarded" ? status : "parked";
  return { dead_letter: id, service, type, status: stands, since: parkedAt.toISOString() };
}
