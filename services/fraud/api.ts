import { z } from "zod";
import { Cents, Currency, type Operation, OrderId, oneOf, paging, Time } from "../../lib/mod.ts";

export const Review = z
  .object({
    order_id: z.string(),
    status: oneOf(["in_review", "approved", "rejected", "expired", "closed", "cleared"]),
    flagged_at: Time.optional(),
    expires_at: Time.optional(),
    evidence: z.array(
      z.object({ rule: z.string(), field: z.string(), value: z.string(), explanation: z.string() }),
    ),
    total_cents: Cents.optional(),
    currency: Currency.optional(),
    customer: z.object({ id: z.string(), email: z.string(), plan: oneOf(["standard", "trial"]) }).optional(),
    shipping_address: z
      .object({
        name: z.string(),
        line1: z.string(),
        line2: z.string(),
        city: z.string(),
        postal_code: z.string(),
        country: z.string(),
      })
      .optional(),
    decision: z
      .object({
        decision: oneOf(["approve", "reject"]),
        reviewer: z.string(),
        note: z.string(),
        decided_at: Time.optional(),
      })
      .optional(),
  })
  .meta({ id: "Review" });
export type Review = z.infer<typeof Review>;

const DecisionBody = z.strictObject({
  decision: z.enum(["approve", "reject"]),
  reviewer: z.string().trim().min(1).max(100),
  note: z.string().max(1_000).default(""),
});

export const listReviews = {
  id: "listReviews",
  summary: "What waits for a decision, oldest first and a moment old at most",
  description: "A page may hold fewer than `limit` and yet have a next one.",
  query: {
    /** Only what waits for somebody is listed. */
    status: z.literal("in_review").default("in_review"),
    ...paging({ limit: 50, max: 100 }),
  },
  answers: { 200: z.object({ reviews: z.array(Review), next_cursor: z.string().optional() }) },
} satisfies Operation;

export const getReview = {
  id: "getReview",
  summary: "The screening of an order, whatever became of it",
  path: { order: OrderId },
  answers: { 200: Review },
  problems: { 404: ["unknown-review"] },
} satisfies Operation;

export const decideReview = {
  id: "decideReview",
  summary: "Decides a review",
  description:
    "The same decision by the same reviewer again is answered alike; any other on a review that is over, 409.",
  path: { order: OrderId },
  body: DecisionBody,
  answers: { 200: Review },
  problems: { 404: ["unknown-review"], 409: ["review-not-open"] },
} satisfies Operation;
