import { create, type MessageShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { CloseReviewSchema } from "../../gen/shop/checkout/v1/close_review_pb.ts";
import type { ScreenOrderSchema } from "../../gen/shop/checkout/v1/screen_order_pb.ts";
import type { OrderClearedSchema } from "../../gen/shop/fraud/v1/order_cleared_pb.ts";
import type { ReviewDueSchema } from "../../gen/shop/fraud/v1/review_due_pb.ts";
import { DecisionSchema, ScreeningSchema } from "../../gen/shop/fraud/v1/screening_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  closeReview,
  type Key,
  key,
  message,
  type Outgoing,
  orderCleared,
  orderFlagged,
  reviewApproved,
  reviewDue,
  reviewExpired,
  reviewRejected,
  reviewTimer,
  screening,
  screenOrder,
  subjectOf,
} from "../../nats/contracts/mod.ts";
import type { Decision, Handler, Outcome, View } from "../../nats/mod.ts";
import { type Evidence, evaluate } from "./rules.ts";

export type Screening = MessageShape<typeof ScreeningSchema>;
type Order = MessageShape<typeof OrderSchema>;

export interface FraudOptions {
  /** How long a review stays open. */
  reviewTtlMs: number;
  /**
   * More that speaks against an order, which may be otherwise the next time that it is asked. Default: the rules are all, and
   * an order is looked at the same way each time.
   */
  suspects?: ((order: Order) => Evidence[]) | undefined;
}

const nothing: Outcome = { kind: "done", messages: [] };

/**
 * Everything that fraud does about a message.
 *
 * An order that is cleared at once has one message, `order_cleared`, and nothing is read before it is stored: two clearances
 * are one by its guard. So an order whose review was closed before it came, or at the same time, may be cleared as well.
 * That does no harm: a review is closed only of an order that is being cancelled, and the checkout ignores the clearance of
 * such an order in every state from there on.
 */
export function handlers({ reviewTtlMs, suspects }: FraudOptions) {
  /** Whether the order's clearance is all that is ever stored about it. */
  const isClearForGood = (order: Order | undefined) => suspects === undefined && isClear(order);
  /** Clears an order or opens a review of it, once. No review is opened of an order that was closed before it came. */
  const screen: Handler<typeof ScreenOrderSchema> = {
    contract: screenOrder,
    keys: ({ order }, id) => (isClearForGood(order) ? [key(orderCleared, id)] : screeningKeys(id)),
    begins: ({ order }, id) => [isClearForGood(order) ? key(orderCleared, id) : key(screening, id)],
    decide(view, { order }, { now }) {
      if (order === undefined)
        return { kind: "dead", reason: "Cannot screen an order: the command has none" };
      const { orderId } = order;
      if (view.get(orderCleared, orderId) !== undefined) return nothing;
      const evidence = [...evaluate(order), ...(suspects?.(order) ?? [])];
      const isNew = isClearForGood(order) || view.get(screening, orderId) === undefined;
      if (evidence.length === 0 && isNew) return { kind: "done", messages: [clear(order)] };
      if (!isNew) return nothing;
      const expires = new Date(now.getTime() + reviewTtlMs);
      const flaggedAt = timestampFromDate(now);
      const expiresAt = timestampFromDate(expires);
      const hit = [...new Set(evidence.map(({ rule }) => rule))];
      return {
        kind: "done",
        messages: [
          message(screening, orderId, {
            orderId,
            order,
            status: "in_review",
            evidence,
            flaggedAt,
            expiresAt,
          }),
          message(orderFlagged, orderId, { orderId, rules: hit, expiresAt }),
          message(
            reviewTimer,
            orderId,
            { orderId },
            { schedule: { at: expires, target: subjectOf(reviewDue, orderId) } },
          ),
        ],
      };
    },
  };

  /**
   * Takes an order out of the queue: it is being cancelled, and nobody waits for the answer. An order that has not been
   * screened yet is marked, so that the screening that comes later opens no review.
   */
  const close: Handler<typeof CloseReviewSchema> = {
    contract: closeReview,
    keys: (_, id) => screeningKeys(id),
    decide(view, { orderId }) {
      const before = screeningIn(view, orderId);
      if (before === undefined) {
        return { kind: "done", messages: [message(screening, orderId, { orderId, status: "closed" })] };
      }
      if (before.status !== "in_review") return nothing;
      return { kind: "done", messages: [conclude(before, "closed")] };
    },
  };

  /** Ends a review that nobody has decided in time. The timer is a hint; the deadline is in the state. */
  const expire: Handler<typeof ReviewDueSchema> = {
    contract: reviewDue,
    keys: (_, id) => [key(screening, id)],
    decide(view, { orderId }, { now }) {
      const before = view.get(screening, orderId);
      if (before?.status !== "in_review") return nothing;
      const delayMs = deadline(before) - now.getTime();
      if (delayMs > 0) return { kind: "retry", delayMs, reason: "the review is still open" };
      return {
        kind: "done",
        messages: [conclude(before, "expired"), message(reviewExpired, orderId, { orderId })],
      };
    },
  };

  return [screen, close, expire] as const;
}

/** All that tells what became of the screening of an order. */
export function screeningKeys(orderId: string): readonly Key[] {
  return [key(screening, orderId), key(orderCleared, orderId)];
}

/** What became of the screening of an order; undefined: it has not been screened. */
function screeningIn(view: View, orderId: string): Screening | undefined {
  return screeningOf(view.get(screening, orderId), view.get(orderCleared, orderId));
}

/** The screening of an order out of what is stored: of one that was cleared at once, only that. */
export function screeningOf(
  stored: Screening | undefined,
  cleared: MessageShape<typeof OrderClearedSchema> | undefined,
): Screening | undefined {
  if (stored !== undefined || cleared === undefined) return stored;
  const { orderId, order } = cleared;
  return create(ScreeningSchema, { orderId, status: "cleared", ...(order && { order }) });
}

function isClear(order: Order | undefined): boolean {
  return order !== undefined && evaluate(order).length === 0;
}

/** With what a reviewer may want to see of it, and no more: every service can read it. */
function clear({ orderId, customer, shippingAddress, totalCents, currency }: Order): Outgoing {
  const order = {
    orderId,
    totalCents,
    currency,
    ...(customer && { customer }),
    ...(shippingAddress && { shippingAddress }),
  };
  return message(orderCleared, orderId, { orderId, order });
}

/** What a reviewer makes of an order. */
export interface Verdict {
  decision: "approve" | "reject";
  reviewer: string;
  note: string;
}

/**
 * - `decided`: the review as it stands now, with this decision, be it of this call or of an earlier one.
 * - `unknown`: the order has not been screened.
 * - `refused`: the review cannot be decided, any more or at all, and stays as it is.
 */
export type Answer =
  | { kind: "decided"; screening: Screening }
  | { kind: "unknown" }
  | { kind: "refused"; detail: string };

/** Approves or rejects an open review. The same reviewer may say the same again: it is stored once. */
export function decideReview(
  view: View,
  orderId: string,
  { now, ...verdict }: Verdict & { now: Date },
): Decision<Answer> {
  const before = screeningIn(view, orderId);
  if (before === undefined) return { messages: [], result: { kind: "unknown" } };
  if (before.status !== "in_review") return { messages: [], result: alreadyOver(before, verdict) };
  if (deadline(before) <= now.getTime()) {
    const detail = `The review of order ${orderId} was open until ${new Date(deadline(before)).toISOString()}`;
    return { messages: [], result: { kind: "refused", detail } };
  }
  const { decision, reviewer, note } = verdict;
  const [status, event] =
    decision === "approve"
      ? (["approved", message(reviewApproved, orderId, { orderId, reviewer, note })] as const)
      : (["rejected", message(reviewRejected, orderId, { orderId, reviewer, note })] as const);
  const decided = create(DecisionSchema, { ...verdict, decidedAt: timestampFromDate(now) });
  const stored = conclude(before, status, decided);
  return { messages: [stored, event], result: { kind: "decided", screening: stored.value } };
}

/** The answer to a decision on a review that is not open. */
function alreadyOver(before: Screening, { decision, reviewer }: Verdict): Answer {
  const made = before.decision;
  if (made?.decision === decision && made.reviewer === reviewer)
    return { kind: "decided", screening: before };
  const { orderId } = before;
  if (made !== undefined) {
    return { kind: "refused", detail: `Order ${orderId} is ${before.status} already, by ${made.reviewer}` };
  }
  const details: Record<string, string> = {
    cleared: `Order ${orderId} was never in review: no rule hit, it is cleared`,
    expired: `The review of order ${orderId} has expired, which counts as a refusal`,
    closed: `The review of order ${orderId} is closed: the order is cancelled`,
  };
  return { kind: "refused", detail: details[before.status] ?? `Order ${orderId} is ${before.status}` };
}

/** Ends a review. Its timer goes with it, and thereby its place in the queue. */
function conclude(
  before: Screening,
  status: "approved" | "rejected" | "expired" | "closed",
  decision?: MessageShape<typeof DecisionSchema>,
): Outgoing<typeof ScreeningSchema> {
  const { orderId } = before;
  const after = { ...before, status, ...(decision && { decision }) };
  return message(screening, orderId, after, { cancels: subjectOf(reviewTimer, orderId) });
}

/** When an open review expires, in milliseconds since 1970. A review without a deadline is over. */
function deadline({ expiresAt }: Screening): number {
  return expiresAt === undefined ? 0 : timestampDate(expiresAt).getTime();
}
