import type { MessageShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { CheckoutStateSchema } from "../../gen/shop/checkout/v1/checkout_state_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  chargePayment,
  checkoutCancelled,
  checkoutCompleted,
  checkoutState,
  checkoutTimer,
  closeReview,
  deadlinePassed,
  fulfillOrder,
  message,
  type Outgoing,
  refundPayment,
  releaseStock,
  reserveStock,
  screenOrder,
  subjectOf,
} from "../../nats/contracts/mod.ts";
import type { Command } from "./table.ts";

export type Order = MessageShape<typeof OrderSchema>;
/** A checkout that has begun: it has its order. */
export type Checkout = MessageShape<typeof CheckoutStateSchema> & { order: Order };

/** @param options.end Whether the checkout ends with this snapshot: its timer goes with it. */
export function stateMessage(checkout: Checkout, options: { end: boolean }): Outgoing {
  const { orderId } = checkout.order;
  const cancels = subjectOf(checkoutTimer, orderId);
  return message(checkoutState, orderId, checkout, options.end ? { cancels } : {});
}

/** A timer that fires at `at`. Replaces the one before: there is one subject for each order. */
export function timerMessage(checkout: Checkout, at: Timestamp): Outgoing {
  const { orderId } = checkout.order;
  const { state, history } = checkout;
  return message(
    checkoutTimer,
    orderId,
    { orderId, state, version: history.length, deadline: at },
    { schedule: { at: timestampDate(at), target: subjectOf(deadlinePassed, orderId) } },
  );
}

export function endMessage(checkout: Checkout): Outgoing {
  const { order, state, reason, history } = checkout;
  const at = history.at(-1)?.at;
  return state === "completed"
    ? message(checkoutCompleted, order.orderId, { order, ...(at && { completedAt: at }) })
    : message(checkoutCancelled, order.orderId, { order, reason, ...(at && { cancelledAt: at }) });
}

export function commandMessage(command: Command, { order, reason }: Checkout): Outgoing {
  const { orderId, lines } = order;
  switch (command) {
    case "reserve_stock":
      return message(reserveStock, orderId, { orderId, lines });
    case "release_stock":
      return message(releaseStock, orderId, { orderId, lines });
    case "screen_order":
      return message(screenOrder, orderId, { order });
    case "close_review":
      return message(closeReview, orderId, { orderId, reason });
    case "charge_payment": {
      const { totalCents: amountCents, currency, paymentToken } = order;
      return message(chargePayment, orderId, { orderId, amountCents, currency, paymentToken });
    }
    case "refund_payment":
      return message(refundPayment, orderId, { orderId, reason });
    case "fulfill_order":
      return message(fulfillOrder, orderId, { order });
    default:
      return command satisfies never;
  }
}
