import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
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
import { type Deadlines, decide, type Happening } from "./decide.ts";
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
    on(orderCreated, ({ order }) => ({ order })),
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

/** Moves a checkout on whose deadline has passed. */
export function timer(deadlines: Deadlines, table?: Table): Handler<typeof DeadlinePassedSchema> {
  return {
    contract: deadlinePassed,
    keys: ({ orderId }) => [key(checkoutState, orderId)],
    decide(view, { orderId, version, deadline }, { now }) {
      const checkout = checkoutOf(view, orderId);
      // A timer is a hint: it speaks for the state and the deadline that it was set for, and for no other.
      const current = checkout?.deadline && timestampMs(checkout.deadline);
      const moved = checkout?.history.length !== version || current !== (deadline && timestampMs(deadline));
      if (checkout === undefined || current === undefined || moved) return { kind: "done", messages: [] };
      // The server's clock is ahead of this one.
      const early = current - now.getTime();
      if (early > 0) return { kind: "retry", delayMs: early, reason: "the deadline has not passed" };
      return { kind: "done", messages: expire(checkout, now, deadlines, table) };
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
  if (checkout?.deadline === undefined || timestampMs(checkout.deadline) > now.getTime()) return [];
  return decide(checkout, { event: "checkout.deadline_passed", now }, deadlines, table);
}

export function checkoutOf(view: View, orderId: string): Checkout | undefined {
  // A checkout is stored with its order, from its first transition on.
  return view.get(checkoutState, orderId) as Checkout | undefined;
}
