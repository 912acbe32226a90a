import type { Hono } from "hono";
import { z } from "zod";
import { described, type Env, operatorOnly, Problem, readBody } from "../../lib/mod.ts";
import {
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterSource,
  discardDeadLetter,
  findDeadLetter,
  isDeadLetterId,
  type LetterOutcome,
  lastChange,
  listDeadLetters,
  ReadGate,
  type RedriveOptions,
  redriveDeadLetter,
  redriveDeadLetters,
  type SchemaStore,
  tryLetter,
} from "../../nats/mod.ts";
import * as api from "./api.ts";
import { letterDetails, letterSummary, outcomeJson } from "./letters.ts";

/** Letters are redriven for so long by one request: clients do not wait much longer for an answer. */
const MAX_REDRIVE_S = 20;

export interface MonitorSource extends DeadLetterSource {
  operatorToken: string;
  /** Where the schemas are looked up that messages name. Default: nowhere, and answers say that they were not checked. */
  schemas?: SchemaStore;
}

/** Dead letters, for operators: what `api.ts` describes. */
export function routes(
  app: Hono<Env>,
  { connection, jsm, operatorToken, schemas }: MonitorSource,
): Hono<Env> {
  const source = { connection, jsm };
  const gate = schemas && new ReadGate(schemas);
  // What a service decides is its own business: services know no handlers of each other.
  const trial = (letter: DeadLetter) =>
    tryLetter(letter, { readable: gate && ((...asked) => gate.check(...asked)) });
  app.use("/dead-letters", operatorOnly(operatorToken));
  app.use("/dead-letters/*", operatorOnly(operatorToken));
  return app
    .get("/dead-letters", described(api.listDeadLetters), async (context) => {
      const { cursor: from, limit, ...filter } = readQuery(context.req.query());
      const { letters, next } = await listDeadLetters(jsm, filter, { limit, from });
      return context.json({
        dead_letters: letters.map(letterSummary),
        ...(next !== undefined && { next_cursor: String(next) }),
      });
    })
    .get("/dead-letters/:id", described(api.getDeadLetter), async (context) => {
      const id = context.req.param("id");
      const letter = await findDeadLetter(jsm, id);
      if (letter === undefined) throw unknownLetter(id);
      return context.json(letterDetails(letter));
    })
    .post("/dead-letters/redrive", described(api.redriveDeadLetters), async (context) => {
      const { filter, limit, cursor, dry_run, ...options } = await readBody(
        context.req.raw,
        api.redriveDeadLetters.body,
      );
      const answer = await redriveMany(source, filter, {
        ...options,
        dryRun: dry_run,
        trial,
        limit,
        ...(cursor !== undefined && { from: cursor }),
        signal: context.req.raw.signal,
      });
      context.var.log.warn({ ...options, filter, dry_run, counts: answer.counts }, "dead letters redriven");
      return context.json(answer);
    })
    .post("/dead-letters/:id/redrive", described(api.redriveDeadLetter), async (context) => {
      const { by, dry_run, force } = await readBody(context.req.raw, api.redriveDeadLetter.body);
      const id = knownId(context.req.param("id"));
      const result = await redriveDeadLetter(source, id, { by, dryRun: dry_run, force, trial });
      context.var.log.warn({ id, by, dry_run, outcome: result.outcome }, "dead letter redriven");
      return context.json(answered(result));
    })
    .post("/dead-letters/:id/discard", described(api.discardDeadLetter), async (context) => {
      const { by, reason } = await readBody(context.req.raw, api.discardDeadLetter.body);
      const id = knownId(context.req.param("id"));
      const result = await discardDeadLetter(source, id, { by, reason });
      context.var.log.warn({ id, by, reason, outcome: result.outcome }, "dead letter discarded");
      return context.json(answered(result));
    });
}

async function redriveMany(
  source: DeadLetterSource,
  filter: DeadLetterFilter,
  { limit, ...options }: RedriveOptions & { rate: number; limit: number; signal: AbortSignal },
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

const Query = z.strictObject(api.listDeadLetters.query);

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
