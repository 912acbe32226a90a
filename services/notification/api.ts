import { z } from "zod";
import { type Operation, OrderId, oneOf, Time } from "../../lib/mod.ts";
import type { MailKind } from "./mailer.ts";

export const kinds: readonly MailKind[] = ["order_received", "order_completed", "order_cancelled"];

export const Mails = z
  .object({
    order_id: z.string(),
    mails: z.array(z.object({ kind: oneOf(kinds), message_id: z.string(), sent_at: Time.optional() })),
    waiting: z
      .array(
        z.object({
          kind: oneOf(kinds),
          tries: z.int(),
          since: Time.optional(),
          next_try_at: Time.optional(),
        }),
      )
      .optional()
      .meta({ description: "Those that the mail server has not taken yet" }),
  })
  .meta({ id: "Mails" });
export type Mails = z.infer<typeof Mails>;

export const getMails = {
  id: "getMails",
  summary: "What has been sent about an order, a moment old at most and without the address",
  description: "None for an order that nobody knows. 404 is for what can be the id of none.",
  path: { order: OrderId },
  answers: { 200: Mails },
  problems: { 404: ["unknown-order"] },
} satisfies Operation;
