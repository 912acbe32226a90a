import { z } from "zod";
import { type Operation, OrderId, oneOf, Time } from "../../lib/mod.ts";

const Entry = z
  .object({
    at: Time.meta({ description: "When it was stored, by the server's clock" }),
    after_ms: z.number().meta({ description: "Since the first entry" }),
    stream: z.string(),
    sequence: z.int(),
    subject: z.string(),
    kind: oneOf([
      "transition",
      "state",
      "command",
      "event",
      "timer_set",
      "timer_fired",
      "mail",
      "dead_letter",
      "other",
    ]),
    service: z.string().meta({ description: "Who stored it; of a dead letter, who gave the message up" }),
    says: z.string().meta({ description: "What it says, in one line" }),
    decision: z
      .int()
      .meta({ description: "Entries of the same number were decided at once and stored as one" }),
    id: z.string().optional().meta({ description: "ce-id" }),
    batch: z
      .object({ id: z.string(), sequence: z.int() })
      .optional()
      .meta({ description: "Its place in the commit that stored it, which other orders may share" }),
    cause: z
      .object({ stream: z.string(), sequence: z.int() })
      .optional()
      .meta({ description: "The message that was handled when this was decided" }),
    delivery: z
      .int()
      .optional()
      .meta({ description: "Which delivery of its cause it was decided at, if not the first" }),
    timer_at: Time.optional().meta({ description: "When the timer is due that it is, or was set with it" }),
    timer_cancelled: z
      .literal(true)
      .optional()
      .meta({ description: "The order's timer was removed with it" }),
    deadline: Time.optional().meta({ description: "When what it says is overdue" }),
    traceparent: z.string().optional(),
    dead_letter: z
      .object({
        id: z.string(),
        status: oneOf(["parked", "redriven", "handled", "discarded"]),
        deliveries: z.int(),
        attempt: z.int().meta({ description: "How often it was parked" }),
      })
      .optional(),
    waits_for: z
      .array(
        z.object({
          service: z.string(),
          progress: oneOf(["waiting", "under way", "missing"]),
          redelivered: z.int().meta({
            description: "Messages that came to this service more than once and are not acknowledged",
          }),
        }),
      )
      .optional()
      .meta({ description: "Services that may have to deal with it yet" }),
  })
  .meta({ id: "TimelineEntry" });

export const Timeline = z
  .object({
    order_id: z.string(),
    trace_id: z.string().optional(),
    trace_url: z.string().optional(),
    entries: z
      .array(Entry)
      .meta({ description: "Each message once: those of a stream in its order, none before its cause" }),
    dead_letters: z
      .array(
        z.object({
          id: z.string(),
          status: oneOf(["parked", "redriven", "discarded"]),
          service: z.string().meta({ description: "Who has to handle it" }),
          type: z.string().meta({ description: "What was parked: the subject without its id" }),
          since: Time.meta({ description: "When it was parked last" }),
          holds_up: z.boolean().meta({ description: "Whether the order stays where it is for it" }),
        }),
      )
      .optional()
      .meta({ description: "Dead letters of its messages that nobody has handled since" }),
    truncated: z.literal(true).optional().meta({ description: "There is more than is shown" }),
  })
  .meta({ id: "Timeline" });
export type Timeline = z.infer<typeof Timeline>;

export const getTimeline = {
  id: "getTimeline",
  summary: "Everything that the streams hold about an order, in order, a moment old at most",
  path: { id: OrderId },
  answers: { 200: Timeline },
  problems: { 404: ["unknown-order"], 503: ["too-many-timelines"] },
} satisfies Operation;
