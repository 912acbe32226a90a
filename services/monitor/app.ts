import type { Hono } from "hono";
import { z } from "zod";
import { type Env, operatorOnly, Problem, readBody } from "../../lib/mod.ts";
import {
  DEFAULT_REDRIVE_RATE,
  type DeadLetterFilter,
  type DeadLetterSource,
  deadLetterStatuses,
  discardDeadLetter,
  findDeadLetter,
  isDeadLetterId,
  type LetterOutcome,
  lastChange,
  listDeadLetters,
  MAX_REDRIVE_RATE,
  redriveDeadLetter,
  redriveDeadLetters,
} from "../../nats/mod.ts";
import { letterDetails, letterSummary, outcomeJson } from "./letters.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;
/** Letters that one request redrives. More is another request. */
const MAX_REDRIVEN = 500;
/** Fewer where the rate is low: clients do not wait much longer for an answer. */
const MAX_REDRIVE_S = 20;

const Text = z.string().min(1).max(200);
const Time = z.iso.datetime({ offset: true }).transform((text) => new Date(text));
const Cursor = z
  .string()
  .regex(/^[1-9]\d{0,14}$/, "Must be the next_cursor of an earlier page")
  .transform(Number);
const Filter = {
  service: z
    .string()
    .regex(/^[a-z_-]{1,64}$/)
    .optional(),
  type: Text.optional(),
  error: Text.optional(),
  from: Time.optional(),
  to: Time.optional(),
};
const Query = z.strictObject({
  ...Filter,
  status: z.enum([...deadLetterStatuses, "all"]).default("parked"),
  cursor: Cursor.optional(),
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(DEFAULT_LIMIT),
});
const By = z.string().trim().min(1).max(100);
const RedriveBody = z.strictObject({
  by: By,
  dry_run: z.boolean().default(false),
  force: z.boolean().default(false),
});
const RedriveManyBody = z.strictObject({
  ...RedriveBody.shape,
  filter: z.strictObject(Filter),
  rate: z.number().min(0.1).max(MAX_REDRIVE_RATE).default(DEFAULT_REDRIVE_RATE),
  limit: z.int().min(1).max(MAX_REDRIVEN).default(MAX_REDRIVEN),
  cursor: Cursor.optional(),
});
const DiscardBody = z.strictObject({ by: By, reason: z.string().trim().min(1).max(500) });

/**
 * Dead letters, for operators.
 * - `GET /dead-letters?service=&type=&error=&from=&to=&status=&cursor=&limit=` → `{"dead_letters":[…],"next_cursor"?}`.
 *   A page may hold fewer than `limit`, even none, and there is more for as long as there is a `next_cursor`.
 * - `GET /dead-letters/{id}` → one, with its payload by its schema, else in hex and base64 with what is wrong with it.
 * - `POST /dead-letters/{id}/redrive {"by","dry_run"?,"force"?}`, `POST /dead-letters/{id}/discard {"by","reason"}` →
 *   `{"id","outcome","detail"}`; 409 for one that is not parked, 422 for one that its service would not decode.
 * - `POST /dead-letters/redrive {"by","filter","dry_run"?,"force"?,"rate"?,"limit"?,"cursor"?}` → `{"counts",
 *   "results":[…],"next_cursor"?}`, `rate` a second.
 */
export function routes(
  app: Hono<Env>,
  { connection, jsm, operatorToken }: DeadLetterSource & { operatorToken: string },
): Hono<Env> {
  const source = { connection, jsm };
  app.use("/dead-letters", operatorOnly(operatorToken));
  app.use("/dead-letters/*", operatorOnly(operatorToken));
  return app
    .get("/dead-letters", async (context) => {
      const { cursor: from, limit, ...filter } = readQuery(context.req.query());
      const { letters, next } = await listDeadLetters(jsm, filter, { limit, from });
      return context.json({
        dead_letters: letters.map(letterSummary),
        ...(next !== undefined && { next_cursor: String(next) }),
      });
    })
    .get("/dead-letters/:id", async (context) => {
      const id = context.req.param("id");
      const letter = await findDeadLetter(jsm, id);
      if (letter === undefined) throw unknownLetter(id);
      return context.json(letterDetails(letter));
    })
    .post("/dead-letters/redrive", async (context) => {
      const { filter, limit, cursor, dry_run, ...options } = await readBody(context.req.raw, RedriveManyBody);
      const answer = await redriveMany(source, filter, {
        ...options,
        dryRun: dry_run,
        limit,
        ...(cursor !== undefined && { from: cursor }),
        signal: context.req.raw.signal,
      });
      context.var.log.warn({ ...options, filter, dry_run, counts: answer.counts }, "dead letters redriven");
      return context.json(answer);
    })
    .post("/dead-letters/:id/redrive", async (context) => {
      const { by, dry_run, force } = await readBody(context.req.raw, RedriveBody);
      const id = knownId(context.req.param("id"));
      const result = await redriveDeadLetter(source, id, { by, dryRun: dry_run, force });
      context.var.log.warn({ id, by, dry_run, outcome: result.outcome }, "dead letter redriven");
      return context.json(answered(result));
    })
    .post("/dead-letters/:id/discard", async (context) => {
      const { by, reason } = await readBody(context.req.raw, DiscardBody);
      const id = knownId(context.req.param("id"));
      const result = await discardDeadLetter(source, id, { by, reason });
      context.var.log.warn({ id, by, reason, outcome: result.outcome }, "dead letter discarded");
      return context.json(answered(result));
    });
}

async function redriveMany(
  source: DeadLetterSource,
  filter: DeadLetterFilter,
  {
    limit,
    ...options
  }: { by: string; dryRun: boolean; force: boolean; rate: number; limit: number; signal: AbortSignal },
) {
  const results: ReturnType<typeof outcomeJson>[] = [];
  const counts: Partial<Record<LetterOutcome["outcome"], number>> = {};
  const upTo = await lastChange(source);
  const most = Math.min(limit, Math.max(1, Math.floor(options.rate * MAX_REDRIVE_S)));
  let next: number | undefined;
  for await (const result of redriveDeadLetters(source, filter, { ...options, upTo })) {
    results.push(outcomeJson(result));
    counts[result.outcome] = (counts[result.outcome] ?? 0) + 1;
    if (results.length < most) continue;
    next = result.seq + 1;
    break;
  }
  return { counts, results, ...(next !== undefined && { next_cursor: String(next) }) };
}

/** @throws {Problem} For what was not done. */
function answered(result: LetterOutcome) {
  const { id, outcome, detail } = result;
  switch (outcome) {
    case "redriven":
    case "discarded":
    case "would_redrive":
      return outcomeJson(result);
    case "missing":
      throw unknownLetter(id);
    case "unchanged":
      throw new Problem(409, "dead-letter-not-parked", {
        title: "Not parked",
        detail: `Nothing was done about ${id}: ${detail}`,
        extra: { status: result.letter?.status },
      });
    case "would_fail":
      throw new Problem(422, "dead-letter-unreadable", {
        title: "Would be parked again",
        detail: `${id} is left alone, since it would fail: ${detail}. Send "force":true to redrive it all the same`,
      });
    case "failed":
      throw new Problem(503, "unavailable", {
        title: "Not available right now",
        detail: `${id} may or may not have been changed (${detail}). Send it again: it will be carried out once`,
        headers: { "retry-after": "1" },
      });
    default:
      return outcome satisfies never;
  }
}

function knownId(id: string): string {
  if (!isDeadLetterId(id)) throw unknownLetter(id);
  return id;
}

function unknownLetter(id: string): Problem {
  return new Problem(404, "unknown-dead-letter", {
    title: "Unknown dead letter",
    detail: `There is no dead letter ${JSON.stringify(id.slice(0, 200))}`,
  });
}

function readQuery(query: Record<string, string>): z.infer<typeof Query> {
  const read = Query.safeParse(query);
  if (read.success) return read.data;
  const errors = read.error.issues.map((issue) => ({
    parameter: issue.path.join("."),
    detail: issue.message,
  }));
  throw new Problem(400, "invalid-query", {
    title: "Invalid query",
    detail: errors.map((error) => `${error.parameter || "query"}: ${error.detail}`).join("; "),
    extra: { errors },
  });
}
