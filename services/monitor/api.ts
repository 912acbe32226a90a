import { z } from "zod";
import { type Operation, oneOf, Time } from "../../lib/mod.ts";
import { DEFAULT_REDRIVE_RATE, deadLetterStatuses, MAX_REDRIVE_RATE, trialSteps } from "../../nats/mod.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;
/** Letters that one request redrives. More is another request. */
const MAX_REDRIVEN = 500;

const Text = z.string().min(1).max(200);
const Since = z.iso.datetime({ offset: true }).transform((text) => new Date(text));
const Cursor = z
  .string()
  .regex(/^[1-9]\d{0,14}$/, "Must be the next_cursor of an earlier page")
  .transform(Number);
const Filter = {
  service: z
    .string()
    .regex(/^[a-z_-]{1,64}$/)
    .optional(),
  type: Text.optional().meta({ description: "The subject without its id" }),
  error: Text.optional().meta({ description: "Text that the error has in it" }),
  from: Since.optional(),
  to: Since.optional(),
};
const By = z.string().trim().min(1).max(100).meta({ description: "Who wants it" });
const RedriveBody = z.strictObject({
  by: By,
  dry_run: z.boolean().default(false),
  force: z.boolean().default(false),
});
const RedriveManyBody = z.strictObject({
  ...RedriveBody.shape,
  filter: z.strictObject(Filter),
  rate: z
    .number()
    .min(0.1)
    .max(MAX_REDRIVE_RATE)
    .default(DEFAULT_REDRIVE_RATE)
    .meta({ description: "Letters a second" }),
  limit: z.int().min(1).max(MAX_REDRIVEN).default(MAX_REDRIVEN),
  cursor: Cursor.optional(),
});
const DiscardBody = z.strictObject({ by: By, reason: z.string().trim().min(1).max(500) });

export const LetterSummary = z
  .object({
    id: z.string(),
    status: oneOf(deadLetterStatuses),
    service: z.string(),
    type: z.string().meta({ description: "The subject without its id" }),
    subject: z.string(),
    stream: z.string(),
    sequence: z.int().meta({ description: "In the stream" }),
    error: z.string(),
    attempt: z.int().meta({ description: "How often it was parked" }),
    deliveries: z.int().meta({ description: "How often it was delivered before it was parked last" }),
    parked_at: Time,
    changed_at: Time,
    by: z.string().optional().meta({ description: "Who redrove or discarded it last" }),
    note: z.string().optional(),
  })
  .meta({ id: "DeadLetterSummary" });
export type LetterSummary = z.infer<typeof LetterSummary>;

export const LetterDetails = z
  .object({
    ...LetterSummary.shape,
    stored_at: Time,
    headers: z.record(z.string(), z.array(z.string())),
    payload: z.union([
      z.object({
        schema: z.string(),
        value: z.unknown().meta({ description: "By its schema, in the JSON form of Protobuf" }),
        unknown_bytes: z.int(),
      }),
      z.object({
        schema: z.string().optional(),
        decode_error: z.string(),
        hex: z.string(),
        base64: z.string(),
      }),
    ]),
  })
  .meta({ id: "DeadLetter" });
export type LetterDetails = z.infer<typeof LetterDetails>;

const outcomes = ["redriven", "discarded", "would_redrive", "would_fail", "unchanged", "missing", "failed"];
export const LetterChange = z
  .object({
    id: z.string(),
    outcome: oneOf(outcomes),
    detail: z.string(),
    type: z.string().optional(),
    service: z.string().optional(),
    checked: z
      .array(oneOf(trialSteps))
      .optional()
      .meta({ description: "What a redrive would do that was tried before" }),
    unchecked: z.array(oneOf(trialSteps)).optional().meta({ description: "What was not" }),
  })
  .meta({ id: "DeadLetterChange" });
export type LetterChange = z.infer<typeof LetterChange>;

const Id = z.string().meta({ description: "<service>.<consumer>.<stream>.<sequence>" });

/** Its `status` is the letter's. */
const notParked = {
  description: "It was redriven, handled or discarded before: `status`",
  schema: z.object({
    type: z.literal("urn:problem:shop:dead-letter-not-parked"),
    title: z.string(),
    status: oneOf(deadLetterStatuses),
    detail: z.string(),
    instance: z.string(),
  }),
  types: ["application/problem+json"],
};

export const listDeadLetters = {
  id: "listDeadLetters",
  summary: "Dead letters by their last change, oldest first",
  description:
    "A page may hold fewer than `limit`, even none, and there is more for as long as there is a `next_cursor`.",
  query: {
    ...Filter,
    status: z.enum([...deadLetterStatuses, "all"]).default("parked"),
    cursor: Cursor.optional(),
    limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(DEFAULT_LIMIT),
  },
  answers: { 200: z.object({ dead_letters: z.array(LetterSummary), next_cursor: z.string().optional() }) },
} satisfies Operation;

export const getDeadLetter = {
  id: "getDeadLetter",
  summary: "A dead letter, with its payload by its schema, else as it is with what is wrong with it",
  path: { id: Id },
  answers: { 200: LetterDetails },
  problems: { 404: ["unknown-dead-letter"] },
} satisfies Operation;

export const redriveDeadLetter = {
  id: "redriveDeadLetter",
  summary: "Gives a dead letter to its service again",
  path: { id: Id },
  body: RedriveBody,
  answers: { 200: LetterChange, 409: notParked },
  problems: { 404: ["unknown-dead-letter"], 422: ["dead-letter-unreadable"] },
} satisfies Operation;

export const discardDeadLetter = {
  id: "discardDeadLetter",
  summary: "Gives a dead letter up",
  path: { id: Id },
  body: DiscardBody,
  answers: { 200: LetterChange, 409: notParked },
  problems: { 404: ["unknown-dead-letter"] },
} satisfies Operation;

export const redriveDeadLetters = {
  id: "redriveDeadLetters",
  summary: "Gives all dead letters that match to their services again, one after the other",
  body: RedriveManyBody,
  answers: {
    200: z.object({
      counts: z.record(z.string(), z.int()).meta({ description: "How many letters had each outcome" }),
      results: z.array(LetterChange),
      next_cursor: z.string().optional().meta({ description: "There may be more from here on" }),
    }),
  },
} satisfies Operation;
