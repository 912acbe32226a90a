import { z } from "zod";
import { Cents, Currency, type Operation, OrderId, oneOf, paging, Time } from "../../lib/mod.ts";

export const Payment = z
  .object({
    order_id: z.string(),
    status: oneOf(["pending", "captured", "declined", "refunding", "refunded", "voided"]),
    amount_cents: Cents,
    currency: Currency,
    captured_cents: Cents,
    refunded_cents: Cents,
    capture_id: z.string().optional(),
    refund_id: z.string().optional(),
    decline_code: z.string().optional(),
    refund_refused: z
      .object({ code: z.string(), at: Time.optional() })
      .optional()
      .meta({ description: "Why the provider will not refund, however often it is asked" }),
    settlement: z
      .object({ settled_by: z.string(), note: z.string(), amount_cents: Cents, settled_at: Time.optional() })
      .optional()
      .meta({ description: "How the money went back without a refund of the provider" }),
  })
  .meta({ id: "Payment" });
export type Payment = z.infer<typeof Payment>;

const SettlementBody = z.strictObject({
  settled_by: z.string().trim().min(1).max(100),
  note: z.string().trim().min(1).max(1_000),
  amount_cents: z.int().min(1).meta({ description: "All that was captured" }),
});

export const getPayment = {
  id: "getPayment",
  summary: "What was captured and refunded for an order, a moment old at most",
  path: { order: OrderId },
  answers: { 200: Payment },
  problems: { 404: ["unknown-payment"] },
} satisfies Operation;

export const listRefused = {
  id: "listRefused",
  summary: "Refunds that wait for a person, since the provider will not make them, oldest first",
  description: "A page may hold fewer than `limit` and yet have a next one.",
  query: {
    /** Only what waits for somebody is listed. */
    status: z.literal("refused").default("refused"),
    ...paging({ limit: 50, max: 100 }),
  },
  answers: { 200: z.object({ refunds: z.array(Payment), next_cursor: z.string().optional() }) },
} satisfies Operation;

export const settleRefund = {
  id: "settleRefund",
  summary: "Records that the customer got the money back by other means than a refund of the provider",
  description:
    "The order goes on as if it were refunded. The same settlement again is answered alike; any other of a refund that does not wait for a person, or of another amount than was captured, 409.",
  path: { order: OrderId },
  body: SettlementBody,
  answers: { 200: Payment },
  problems: { 404: ["unknown-payment"], 409: ["refund-not-refused"] },
} satisfies Operation;
