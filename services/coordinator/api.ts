import { z } from "zod";
import { type Operation, OrderId, oneOf, Time } from "../../lib/mod.ts";
import { events, reasons, states } from "./table.ts";

export const Checkout = z
  .object({
    order_id: z.string(),
    state: oneOf(states),
    reason: oneOf(reasons).optional().meta({ description: "Why the order is being or was cancelled" }),
    deadline: Time.optional().meta({ description: "When this state is overdue; an end state has none" }),
    deferred: z
      .array(oneOf(events))
      .meta({ description: "Events that came before the state that handles them, in order of arrival" }),
    compensated: z.array(oneOf(events)).meta({ description: "Events that came too late and were undone" }),
  })
  .meta({ id: "Checkout" });
export type Checkout = z.infer<typeof Checkout>;

export const getCheckout = {
  id: "getCheckout",
  summary: "Where a checkout stands and what it waits for, a moment old at most",
  path: { order: OrderId },
  answers: { 200: Checkout },
  problems: { 404: ["unknown-checkout"] },
} satisfies Operation;
