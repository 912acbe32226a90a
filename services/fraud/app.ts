import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import {
  described,
  type Env,
  operatorOnly,
  Problem,
  readBody,
  readOrderId,
  readQuery,
  requestDeadline,
  toCursor,
  toTime,
} from "../../lib/mod.ts";
import {
  key,
  type Ledger,
  orderCleared,
  reviewTimer,
  screening,
  subjectOf,
  viewLast,
  viewQueue,
} from "../../nats/mod.ts";
import * as api from "./api.ts";
import { decideReview, type Screening, screeningKeys, screeningOf } from "./decide.ts";

interface Dependencies {
  jsm: JetStreamManager;
  ledger: Ledger;
  operatorToken: string;
  /** Default: the system's clock. */
  now?: () => Date;
}

/** What `api.ts` describes, for operators. */
export function routes(app: Hono<Env>, dependencies: Dependencies): Hono<Env> {
  const { jsm, ledger, operatorToken, now = () => new Date() } = dependencies;
  const operator = operatorOnly(operatorToken);
  return app
    .get("/reviews", described(api.listReviews), operator, async (context) => {
      const { cursor, limit } = readQuery(context.req.query(), api.listReviews.query);
      // A review's timer is there for as long as the review is open, so that the timers are the queue.
      const queue = { index: reviewTimer, state: screening, from: cursor, limit };
      const { states, next } = await viewQueue(jsm, ledger.stream, queue);
      const reviews = states.flatMap((found) => (found?.status === "in_review" ? [toJson(found)] : []));
      return context.json({ reviews, ...(next !== undefined && { next_cursor: toCursor(next) }) });
    })
    .get("/reviews/:order", described(api.getReview), operator, async (context) => {
      const orderId = readOrderId(context.req.param("order"), unknownReview);
      const found = screeningOf(
        await viewLast(jsm, ledger.stream, key(screening, orderId)),
        await viewLast(jsm, ledger.stream, key(orderCleared, orderId)),
      );
      if (found === undefined) throw unknownReview(orderId);
      return context.json(toJson(found));
    })
    .post("/reviews/:order/decision", described(api.decideReview), operator, async (context) => {
      const orderId = readOrderId(context.req.param("order"), unknownReview);
      const verdict = await readBody(context.req.raw, api.decideReview.body);
      const review = await ledger.execute(
        {
          keys: screeningKeys(orderId),
          trace: context.var.trace,
          // A person's request is a trace of its own; what it means for the order belongs to the order's.
          continues: subjectOf(screening, orderId),
          decide: (view) => decideReview(view, orderId, { ...verdict, now: now() }),
        },
        { signal: requestDeadline() },
      );
      switch (review.kind) {
        case "decided": {
          const { decision, reviewer } = verdict;
          context.var.log.info({ order_id: orderId, decision, reviewer }, "review decided");
          return context.json(toJson(review.screening));
        }
        case "unknown":
          throw unknownReview(orderId);
        case "refused":
          throw new Problem(409, "review-not-open", { title: "Review not open", detail: review.detail });
        default:
          return review satisfies never;
      }
    });
}

function unknownReview(orderId: string): Problem {
  return new Problem(404, "unknown-review", {
    title: "Unknown review",
    detail: `There is no review of an order ${JSON.stringify(orderId)}`,
  });
}

/** Without the parts that this screening has not got. */
function toJson(found: Screening): api.Review {
  const { order, decision } = found;
  const address = order?.shippingAddress;
  return {
    order_id: found.orderId,
    status: found.status,
    flagged_at: toTime(found.flaggedAt),
    expires_at: toTime(found.expiresAt),
    evidence: found.evidence.map(({ rule, field, value, explanation }) => ({
      rule,
      field,
      value,
      explanation,
    })),
    total_cents: order && Number(order.totalCents),
    currency: order?.currency,
    customer: order?.customer && {
      id: order.customer.id,
      email: order.customer.email,
      plan: order.customer.plan,
    },
    shipping_address: address && {
      name: address.name,
      line1: address.line1,
      line2: address.line2,
      city: address.city,
      postal_code: address.postalCode,
      country: address.country,
    },
    decision: decision && {
      decision: decision.decision,
      reviewer: decision.reviewer,
      note: decision.note,
      decided_at: toTime(decision.decidedAt),
    },
  };
}
