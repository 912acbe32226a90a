import { z } from "zod";
import { Cents, Currency, type Operation, OrderId, oneOf } from "../../lib/mod.ts";

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
  })
  .meta({ id: "Payment" });
export type Payment = z.infer<typeof Payment>;

export const getPayment = {
  id: "getPayment",
  summary: "What was captured and refunded for an order, a moment old at most",
  path: { order: OrderId },
  answers: { 200: Payment },
  problems: { 404: ["unknown-payment"] },
} satisfies Operation;
