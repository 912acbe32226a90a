/** Where a checkout stands. `completed` and `cancelled` are its ends. */
export const states = [
  "created",
  "reserving",
  "screening",
  "in_review",
  "charging",
  "fulfilling",
  "completed",
  "refunding",
  "releasing",
  "cancelled",
] as const;
export type State = (typeof states)[number];

/** What can happen to a checkout: subjects without the id. */
export const events = [
  "order.created",
  "order.cancel_requested",
  "inventory.stock_reserved",
  "inventory.stock_rejected",
  "inventory.stock_released",
  "fraud.order_cleared",
  "fraud.order_flagged",
  "fraud.review_approved",
  "fraud.review_rejected",
  "fraud.review_expired",
  "payment.captured",
  "payment.declined",
  "payment.refunded",
  "payment.voided",
  "fulfillment.shipped",
  "fulfillment.activated",
  "fulfillment.failed",
  "checkout.deadline_passed",
] as const;
export type Event = (typeof events)[number];

/** What the coordinator tells a participant to do. Each is idempotent at its receiver. */
export type Command =
  | "reserve_stock"
  | "release_stock"
  | "screen_order"
  | "close_review"
  | "charge_payment"
  | "refund_payment"
  | "fulfill_order";

/** Why an order was cancelled. */
export const reasons = [
  "out_of_stock",
  "payment_declined",
  "review_rejected",
  "review_expired",
  "customer_request",
  "fulfillment_failed",
  "timed_out",
] as const;
export type Reason = (typeof reasons)[number];

/**
 * What an event means in a state.
 * - `go`: enter another state and send commands. `reason` is set on the way to `cancelled`, and stays.
 * - `defer`: keep the event; it is looked at again in every state that is entered later (UML: deferred event).
 * - `repeat`: stay, send the commands again, wait for twice as long.
 * - `compensate`: stay; the event's effect came too late and is undone by these commands (none: what is under way undoes
 *   it). Once for each event; an event that was part of the history is no news and is ignored.
 * - `ignore`: stay and change nothing.
 */
export type Rule =
  | { kind: "go"; to: State; send: readonly Command[]; reason?: Reason }
  | { kind: "defer"; why: string }
  | { kind: "repeat"; send: readonly Command[]; why: string }
  | { kind: "compensate"; send: readonly Command[]; why: string }
  | { kind: "ignore"; why: string };

/** A rule for every event in every state. */
export type Table = Readonly<Record<State, Readonly<Record<Event, Rule>>>>;

const go = (to: State, ...send: Command[]): Rule => ({ kind: "go", to, send });
const cancel = (to: State, reason: Reason, ...send: Command[]): Rule => ({ kind: "go", to, send, reason });
const defer = (why: string): Rule => ({ kind: "defer", why });
const repeat = (why: string, ...send: Command[]): Rule => ({ kind: "repeat", send, why });
const compensate = (why: string, ...send: Command[]): Rule => ({ kind: "compensate", send, why });

/** One reason to ignore several events. */
function ignore<E extends Event>(why: string, ...which: E[]): Record<E, Rule> {
  return Object.fromEntries(which.map((event) => [event, { kind: "ignore", why }])) as Record<E, Rule>;
}

const begun = "the checkout has begun";
const answered = "it was answered before";
const notAsked = "nothing was asked of this participant yet";
const screened = "the screening is over";
const cancelling = "the order is being cancelled already";

/**
 * The checkout. Stock is reserved and the order screened at the same time; money is taken only after both, goods leave
 * only after that. What was done is undone in the opposite order: refund, then release.
 */
export const table = {
  // An order that the coordinator has not seen yet. Nothing is stored for it.
  created: {
    "order.created": go("reserving", "reserve_stock", "screen_order"),
    "order.cancel_requested": cancel("cancelled", "customer_request"),
    ...ignore(
      notAsked,
      "inventory.stock_reserved",
      "inventory.stock_rejected",
      "inventory.stock_released",
      "fraud.order_cleared",
      "fraud.order_flagged",
      "fraud.review_approved",
      "fraud.review_rejected",
      "fraud.review_expired",
      "payment.captured",
      "payment.declined",
      "payment.refunded",
      "payment.voided",
      "fulfillment.shipped",
      "fulfillment.activated",
      "fulfillment.failed",
      "checkout.deadline_passed",
    ),
  },

  reserving: {
    "inventory.stock_reserved": go("screening"),
    "inventory.stock_rejected": cancel("cancelled", "out_of_stock", "close_review"),
    "fraud.order_cleared": defer("the stock has not answered yet"),
    "fraud.order_flagged": defer("the stock has not answered yet"),
    "fraud.review_approved": defer("the stock has not answered yet"),
    "fraud.review_rejected": defer("the stock has not answered yet"),
    "fraud.review_expired": defer("the stock has not answered yet"),
    "order.cancel_requested": cancel("releasing", "customer_request", "release_stock", "close_review"),
    "checkout.deadline_passed": cancel("releasing", "timed_out", "release_stock", "close_review"),
    ...ignore(begun, "order.created"),
    ...ignore(
      notAsked,
      "inventory.stock_released",
      "payment.captured",
      "payment.declined",
      "payment.refunded",
      "payment.voided",
      "fulfillment.shipped",
      "fulfillment.activated",
      "fulfillment.failed",
    ),
  },

  screening: {
    "fraud.order_cleared": go("charging", "charge_payment"),
    "fraud.order_flagged": go("in_review"),
    "fraud.review_approved": defer("the flag it belongs to has not come yet"),
    "fraud.review_rejected": defer("the flag it belongs to has not come yet"),
    "fraud.review_expired": defer("the flag it belongs to has not come yet"),
    "order.cancel_requested": cancel("releasing", "customer_request", "release_stock", "close_review"),
    "checkout.deadline_passed": cancel("releasing", "timed_out", "release_stock", "close_review"),
    ...ignore(begun, "order.created"),
    ...ignore(answered, "inventory.stock_reserved", "inventory.stock_rejected"),
    ...ignore(
      notAsked,
      "inventory.stock_released",
      "payment.captured",
      "payment.declined",
      "payment.refunded",
      "payment.voided",
      "fulfillment.shipped",
      "fulfillment.activated",
      "fulfillment.failed",
    ),
  },

  // Paused for a person. The fraud service expires a review; the deadline here comes later, in case it is down.
  in_review: {
    "fraud.review_approved": go("charging", "charge_payment"),
    "fraud.review_rejected": cancel("releasing", "review_rejected", "release_stock"),
    "fraud.review_expired": cancel("releasing", "review_expired", "release_stock"),
    "order.cancel_requested": cancel("releasing", "customer_request", "release_stock", "close_review"),
    "checkout.deadline_passed": cancel("releasing", "review_expired", "release_stock", "close_review"),
    ...ignore(begun, "order.created"),
    ...ignore(answered, "inventory.stock_reserved", "inventory.stock_rejected"),
    ...ignore(answered, "fraud.order_cleared", "fraud.order_flagged"),
    ...ignore(
      notAsked,
      "inventory.stock_released",
      "payment.captured",
      "payment.declined",
      "payment.refunded",
      "payment.voided",
      "fulfillment.shipped",
      "fulfillment.activated",
      "fulfillment.failed",
    ),
  },

  // Whether the provider has taken the money is unknown until it says so: every way out but its answer is a refund.
  charging: {
    "payment.captured": go("fulfilling", "fulfill_order"),
    "payment.declined": cancel("releasing", "payment_declined", "release_stock"),
    "order.cancel_requested": cancel("refunding", "customer_request", "refund_payment"),
    "checkout.deadline_passed": cancel("refunding", "timed_out", "refund_payment"),
    ...ignore(begun, "order.created"),
    ...ignore(answered, "inventory.stock_reserved", "inventory.stock_rejected"),
    ...ignore(
      screened,
      "fraud.order_cleared",
      "fraud.order_flagged",
      "fraud.review_approved",
      "fraud.review_rejected",
      "fraud.review_expired",
    ),
    ...ignore(
      notAsked,
      "inventory.stock_released",
      "payment.refunded",
      "payment.voided",
      "fulfillment.shipped",
      "fulfillment.activated",
      "fulfillment.failed",
    ),
  },

  // The goods may have left the house: from here on a cancellation is refused.
  fulfilling: {
    "fulfillment.shipped": go("completed"),
    "fulfillment.activated": go("completed"),
    "fulfillment.failed": cancel("refunding", "fulfillment_failed", "refund_payment"),
    "checkout.deadline_passed": repeat(
      "what was dispatched cannot be called back, so ask again",
      "fulfill_order",
    ),
    ...ignore("fulfilment has been dispatched", "order.cancel_requested"),
    ...ignore(begun, "order.created"),
    ...ignore(answered, "inventory.stock_reserved", "inventory.stock_rejected"),
    ...ignore(answered, "payment.captured", "payment.declined"),
    ...ignore(
      screened,
      "fraud.order_cleared",
      "fraud.order_flagged",
      "fraud.review_approved",
      "fraud.review_rejected",
      "fraud.review_expired",
    ),
    ...ignore(notAsked, "inventory.stock_released", "payment.refunded", "payment.voided"),
  },

  completed: {
    ...ignore("fulfilment has been dispatched", "order.cancel_requested"),
    ...ignore(
      "the order is completed",
      "order.created",
      "inventory.stock_reserved",
      "inventory.stock_rejected",
      "inventory.stock_released",
      "fraud.order_cleared",
      "fraud.order_flagged",
      "fraud.review_approved",
      "fraud.review_rejected",
      "fraud.review_expired",
      "payment.captured",
      "payment.declined",
      "payment.refunded",
      "payment.voided",
      "fulfillment.shipped",
      "fulfillment.activated",
      "fulfillment.failed",
      "checkout.deadline_passed",
    ),
  },

  refunding: {
    "payment.refunded": go("releasing", "release_stock"),
    "payment.voided": go("releasing", "release_stock"),
    "payment.captured": compensate("the refund that was asked for covers it"),
    "checkout.deadline_passed": repeat("the money has to go back, so ask again", "refund_payment"),
    ...ignore(begun, "order.created"),
    ...ignore(cancelling, "order.cancel_requested"),
    ...ignore(answered, "inventory.stock_reserved", "inventory.stock_rejected", "inventory.stock_released"),
    ...ignore("the refund answers for it", "payment.declined"),
    ...ignore(
      screened,
      "fraud.order_cleared",
      "fraud.order_flagged",
      "fraud.review_approved",
      "fraud.review_rejected",
      "fraud.review_expired",
    ),
    ...ignore(answered, "fulfillment.shipped", "fulfillment.activated", "fulfillment.failed"),
  },

  releasing: {
    "inventory.stock_released": go("cancelled"),
    "inventory.stock_reserved": compensate("the release that was asked for covers it"),
    "fraud.order_flagged": compensate("the review is closed together with the order"),
    "payment.captured": compensate(
      "money that comes after the decision to cancel goes back",
      "refund_payment",
    ),
    "checkout.deadline_passed": repeat("the stock has to come back, so ask again", "release_stock"),
    ...ignore(begun, "order.created"),
    ...ignore(cancelling, "order.cancel_requested"),
    ...ignore("the release answers for it", "inventory.stock_rejected"),
    ...ignore(
      cancelling,
      "fraud.order_cleared",
      "fraud.review_approved",
      "fraud.review_rejected",
      "fraud.review_expired",
    ),
    ...ignore(answered, "payment.declined", "payment.refunded", "payment.voided"),
    ...ignore(answered, "fulfillment.shipped", "fulfillment.activated", "fulfillment.failed"),
  },

  cancelled: {
    "inventory.stock_reserved": compensate(
      "stock that is reserved after the end comes back",
      "release_stock",
    ),
    "fraud.order_flagged": compensate("nobody need look at it any more", "close_review"),
    "payment.captured": compensate("money that is captured after the end goes back", "refund_payment"),
    ...ignore("the order was cancelled before it began", "order.created"),
    ...ignore("the order is cancelled already", "order.cancel_requested"),
    ...ignore(
      "the order is cancelled",
      "inventory.stock_rejected",
      "inventory.stock_released",
      "fraud.order_cleared",
      "fraud.review_approved",
      "fraud.review_rejected",
      "fraud.review_expired",
      "payment.declined",
      "payment.refunded",
      "payment.voided",
      "fulfillment.shipped",
      "fulfillment.activated",
      "fulfillment.failed",
      "checkout.deadline_passed",
    ),
  },
} as const satisfies Table;
