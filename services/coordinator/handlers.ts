import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { DeadlinePassedSchema } from "../../gen/shop/checkout/v1/deadline_passed_pb.ts";
import {
  type Contract,
  checkoutState,
  deadlinePassed,
  fulfillmentFailed,
  key,
  type Outgoing,
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
  reviewApproved,
  reviewExpired,
  reviewRejected,
  stockRejected,
  stockReleased,
  stockReserved,
} from "../../nats/contracts/mod.ts";
import type { AnyHandler, Handler, View } from "../../nats/mod.ts";
import { type Deadlines, decide, type Happening, rearm, timerOf } from "./decide.ts";
import type { Checkout } from "./messages.ts";
import type { Event, Table } from "./table.ts";

/**
 * One handler for each event of the table but the deadline, which is {@linkcode timer}'s.
 * @param table Default: the checkout's.
 */
export function eventHandlers(deadlines: Deadlines, table?: Table): readonly AnyHandler[] {
  const on = <S extends DescMessage>(
    contract: Contract<S>,
    details: (message: MessageShape<S>) => Partial<Happening> = () => ({}),
  ): Handler<S> => ({
    contract,
    keys: (_, id) => [key(checkoutState, id)],
    decide: (view, message, { now, id }) => ({
      kind: "done",
      messages: decide(
        checkoutOf(view, id),
        { event: contract.subject as Event, now, ...details(message) },
        deadlines,
        table,
      ),
    }),
  });
  return [
    { ...on(orderCreated, ({ order }) => ({ order })), begins: (_, id) => [key(checkoutState, id)] },
    on(orderCancelRequested, ({ order }) => ({ order })),
    on(stockReserved),
    on(stockRejected),
    on(stockReleased),
    on(orderCleared),
    on(orderFlagged, ({ expiresAt }) => ({ expiresAt: expiresAt && timestampDate(expiresAt) })),
    on(reviewApproved),
    on(reviewRejected),
    on(reviewExpired),
    on(paymentCaptured),
    on(paymentDeclined),
    on(paymentRefunded),
    on(paymentVoided),
    on(orderShipped),
    on(orderActivated),
    on(fulfillmentFailed),
  ];
}

/** Every event of the table. */
export function handlers(deadlines: Deadlines, table?: Table): readonly AnyHandler[] {
  return [...eventHandlers(deadlines, table), timer(deadlines, table)];
}

/**
 * What a timer that has fired means for the checkout as it is now. A timer is a hint: the deadline is in the state.
 * - `stale`: nothing. It was handled before, or another one is set.
 * - `early`: nothing yet. The server's clock is ahead of this one.
 * - `due`: the deadline has passed.
 * - `rearm`: the checkout has moved on while the timer was set, and needs one for its present deadline.
 */
type Firing = "stale" | "early" | "due" | "rearm";

/** Says what the timer means that was to fire at `fired`, now that no other one will come before it. */
export function firingOf(checkout: Checkout | undefined, fired: Timestamp | undefined, now: Date): Firing {
  const set = checkout && timerOf(checkout);
  if (checkout?.deadline === undefined || set === undefined || fired === undefined) return "stale";
  // One for later was set after this one. One for earlier has fired as well.
  if (timestampMs(fired) < timestampMs(set)) return "stale";
  if (isOverdue(checkout, now)) return "due";
  // A timer for the same moment would fire at once, and again, until the clocks agree.
  return timestampMs(checkout.deadline) <= timestampMs(fired) ? "early" : "rearm";
}

/** Moves a checkout on whose deadline has passed, and sets the next timer for one that has time left. */
export function timer(deadlines: Deadlines, table?: Table): Handler<typeof DeadlinePassedSchema> {
  return {
    contract: deadlinePassed,
    keys: ({ orderId }) => [key(checkoutState, orderId)],
    decide(view, { orderId, deadline: fired }, { now }) {
      const checkout = checkoutOf(view, orderId);
      const firing = firingOf(checkout, fired, now);
      if (checkout?.deadline === undefined || firing === "stale") return { kind: "done", messages: [] };
      if (firing === "rearm") return { kind: "done", messages: rearm(checkout) };
      if (firing === "due") return { kind: "done", messages: expire(checkout, now, deadlines, table) };
      const delayMs = timestampMs(checkout.deadline) - now.getTime();
      return { kind: "retry", delayMs, reason: "the deadline has not passed" };
    },
  };
}

/** What is due if the checkout is past its deadline; nothing if it is not, whoever asks. */
export function expire(
  checkout: Checkout | undefined,
  now: Date,
  deadlines: Deadlines,
  table?: Table,
): Outgoing[] {
  if (checkout === undefined || !isOverdue(checkout, now)) return [];
  return decide(checkout, { event: "checkout.deadline_passed", now }, deadlines, table);
}

export function isOverdue(checkout: Checkout | undefined, now: Date): boolean {
  return checkout?.deadline !== undefined && timestampMs(checkout.deadline) <= now.getTime();
}

export function checkoutOf(view: View, orderId: string): Checkout | undefined {
  // A checkout is stored with its order, from its first transition on.
  return view.get(checkoutState, orderId) as Checkout | undefined;
}
