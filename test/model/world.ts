import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  checkoutState,
  checkoutTimer,
  fulfillmentFailed,
  item,
  type Key,
  key,
  message,
  type Outgoing,
  orderActivated,
  orderCancelRequested,
  orderCleared,
  orderCreated,
  orderShipped,
  payment,
  reservation,
  reviewTimer,
  screening,
} from "../../nats/contracts/mod.ts";
import { type AnyHandler, topology } from "../../nats/mod.ts";
import { handlers as coordinator } from "../../services/coordinator/handlers.ts";
import type { Table } from "../../services/coordinator/table.ts";
import { handlers as fraud } from "../../services/fraud/decide.ts";
import { handlers as fulfillment } from "../../services/fulfillment/decide.ts";
import { unpackable } from "../../services/fulfillment/sandbox.ts";
import { handlers as inventory } from "../../services/inventory/decide.ts";
import { handlers as payments } from "../../services/payment/decide.ts";

/** What is given before the first step. All that can happen later is explored. */
export interface Scenario {
  readonly name: string;
  readonly stock: "enough" | "short";
  readonly screening: "clear" | "flag";
  readonly fulfilment: "ships" | "fails" | "activates";
}

/** An order that is short of stock is never fulfilled, so that how it would be makes no difference. */
export const scenarios: readonly Scenario[] = (["clear", "flag"] as const).flatMap((screening) => [
  ...(["ships", "fails", "activates"] as const).map((fulfilment) => ({
    name: `enough stock, ${screening}, ${fulfilment}`,
    stock: "enough" as const,
    screening,
    fulfilment,
  })),
  { name: `short of stock, ${screening}`, stock: "short" as const, screening, fulfilment: "ships" as const },
]);

export const orderId = "o1";
export const quantity = 2;

const MINUTE = 60_000;
/**
 * When the timer fires that a checkout has, once it is stored: only whether it is the current one makes a difference, and
 * whether the deadline is later.
 */
export const TIMER = new Date("2027-01-01T00:00:00Z");
/** The deadline of a checkout that has moved on since its timer was set. Otherwise it is the timer's. */
export const DEADLINE = new Date(TIMER.getTime() + MINUTE);
/** A timer that was replaced. */
export const OLD_TIMER = new Date("2026-07-01T00:00:00Z");
/** Now, for every decision that is not about a deadline. The timer comes before the deadline of a state entered now. */
export const NOW = new Date(TIMER.getTime() - MINUTE / 2);
/** The timer comes after the deadline of a state entered now. */
export const EARLY = new Date(TIMER.getTime() - 3 * MINUTE);
/** The timer has fired and the deadline, if it is later, is still to come. */
export const FIRED = new Date(TIMER.getTime() + 1);
/** Every deadline has passed. */
export const LATE = new Date(DEADLINE.getTime() + MINUTE);

const deadlines = {
  reserving: MINUTE,
  screening: MINUTE,
  in_review: MINUTE,
  charging: MINUTE,
  fulfilling: MINUTE,
  refunding: MINUTE,
  releasing: MINUTE,
};

/** Names of the entities of one order, in the order in which a state holds them. */
export const cells = [
  "checkout",
  "item",
  "reservation",
  "payment",
  "screening",
  "cleared",
  "shipped",
  "activated",
  "failed",
] as const;
export type Cell = (typeof cells)[number];

/** Index of the checkout's timer among the schedules. */
export const CHECKOUT_TIMER = 0;

/** The services and the order of one scenario. */
export interface World {
  readonly scenario: Scenario;
  readonly initialStock: bigint;
  readonly table: Table;
  readonly keys: Readonly<Record<Cell, Key>>;
  /** Subjects of the schedules, in the order in which a state holds them. */
  readonly timers: readonly string[];
  readonly first: { readonly item: MessageShape<DescMessage>; readonly created: Outgoing };
  readonly cancel: Outgoing;
  /** By subject without the id: who takes it from a durable consumer. Nobody: it only says something. */
  readonly handlers: ReadonlyMap<string, AnyHandler>;
}

export function makeWorld(scenario: Scenario, table: Table): World {
  const sku = scenario.fulfilment === "fails" ? "broken" : "mug";
  const order = create(OrderSchema, {
    orderId,
    customer: { email: "ada@example.com", plan: scenario.fulfilment === "activates" ? "trial" : "standard" },
    lines: [{ sku, quantity, unitPriceCents: 1_200n }],
    shippingAddress: { line1: scenario.screening === "flag" ? "Freight Forwarding 1" : "12 High Street" },
    paymentToken: "tok",
    totalCents: 2_400n,
    currency: "EUR",
    placedAt: timestampFromDate(NOW),
  });
  const initialStock = scenario.stock === "enough" ? 3n : 1n;
  // The provider is the explorer's: it moves at any moment, with any answer.
  const provider = {
    name: "explored",
    capture: () => Promise.reject(new Error("the explorer answers")),
    refund: () => Promise.reject(new Error("the explorer answers")),
  };
  const services: Readonly<Record<string, readonly AnyHandler[]>> = {
    coordinator: coordinator(deadlines, table),
    inventory,
    payment: payments({ provider }),
    fraud: fraud({ reviewTtlMs: MINUTE }),
    fulfillment: fulfillment({ unpackable }),
  };
  const handlers = new Map<string, AnyHandler>();
  for (const { service, contracts } of topology.consumers) {
    for (const handler of services[service] ?? []) {
      const { subject } = handler.contract;
      if (!contracts.includes(handler.contract)) continue;
      if (handlers.has(subject)) throw new RangeError(`Cannot explore ${subject}: two services take it`);
      handlers.set(subject, handler);
    }
  }
  return {
    scenario,
    initialStock,
    table,
    keys: {
      checkout: key(checkoutState, orderId),
      item: key(item, sku),
      reservation: key(reservation, orderId),
      payment: key(payment, orderId),
      screening: key(screening, orderId),
      cleared: key(orderCleared, orderId),
      shipped: key(orderShipped, orderId),
      activated: key(orderActivated, orderId),
      failed: key(fulfillmentFailed, orderId),
    },
    timers: [key(checkoutTimer, orderId).subject, key(reviewTimer, orderId).subject],
    first: {
      item: create(item.schema, { sku, unitPriceCents: 1_200n, currency: "EUR", available: initialStock }),
      created: message(orderCreated, orderId, { order }),
    },
    cancel: message(orderCancelRequested, orderId, { order, requestedAt: timestampFromDate(NOW) }),
    handlers,
  };
}
