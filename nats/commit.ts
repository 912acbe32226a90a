import { errors, headers, type Msg, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import { counted } from "./counted.ts";
import type { OutgoingHeaders } from "./headers.ts";
import { randomId } from "./trace.ts";

/** One message of a batch. */
export interface BatchEntry {
  subject: string;
  data: Uint8Array;
  headers: OutgoingHeaders;
  /**
   * Sequence of the subject's last message that this write builds upon, 0 if there must be none. Only on the first
   * entry of a subject within the batch. Without it the message is stored whatever came before.
   */
  expect?: number;
}

/**
 * What became of a batch.
 * - `committed`: all of it is stored, in order, with consecutive sequences that end in `lastSeq`, and synced to disk
 *   where the server has `sync_interval: always`.
 * - `conflict`: none of it is stored; somebody else wrote one of the guarded subjects (or the server thinks that
 *   somebody is about to).
 * - `busy`, `storage`: none of it is stored; the server has too much to do, or no room. Try later.
 * - `rejected`: none of it is stored, and trying again will not help.
 * - `unknown`: all of it or none of it is stored, now or a little later. Read the guarded subjects again, and if they
 *   have not changed, try again under the same guards.
 */
export type CommitOutcome =
  | { kind: "committed"; lastSeq: number }
  | { kind: "conflict" }
  | { kind: "busy" | "storage" | "rejected"; code: number; description: string }
  | { kind: "unknown"; cause: unknown };

export interface CommitOptions {
  /** How long to wait for the server's word before the outcome is unknown. Default 5,000. */
  timeoutMs?: number;
}

/** The server's limit on an atomic batch (ADR-50, nats-server 2.12+). */
export const MAX_BATCH_MESSAGES = 1_000;

// https://github.com/nats-io/nats-server/blob/main/server/errors.json
const CONFLICT = new Set([10071, 10164]); // wrong last sequence; subject in flight in another batch
const BUSY = new Set([10210, 10167]); // too many batches in flight
const STORAGE = new Set([10002, 10023, 10077]); // insufficient resources; no room in memory, store or stream
const UNKNOWN = new Set([10176]); // the batch was abandoned by the server

/**
 * Stores `entries` in `stream` as one: all or none, in order. One entry is a plain publish with its guard; several
 * are an atomic batch (ADR-50; the stream has `allow_atomic`). A new batch id is made for each call.
 *
 * A message whose subject is another stream's is not stored there.
 *
 * All messages leave in one tick, and only the last one is answered: one round trip whatever the size. The client
 * library's own batch drops guards and schedules, which is why this does not use it.
 *
 * @throws {RangeError} If there is no entry, or more than {@linkcode MAX_BATCH_MESSAGES}.
 */
export async function commit(
  connection: NatsConnection,
  stream: string,
  entries: readonly BatchEntry[],
  options: CommitOptions = {},
): Promise<CommitOutcome> {
  const last = entries.at(-1);
  if (last === undefined || entries.length > MAX_BATCH_MESSAGES) {
    throw new RangeError(
      `Cannot commit ${counted(entries.length, "message")} to ${stream}: a batch has 1 to ${MAX_BATCH_MESSAGES}`,
    );
  }
  const batchId = entries.length > 1 ? randomId() : undefined;
  entries.forEach((entry, index) => {
    if (entry.expect !== undefined) {
      entry.headers.set("Nats-Expected-Last-Subject-Sequence", String(entry.expect));
    }
    if (batchId !== undefined) {
      entry.headers.set("Nats-Batch-Id", batchId);
      entry.headers.set("Nats-Batch-Sequence", String(index + 1));
    }
  });
  if (batchId !== undefined) last.headers.set("Nats-Batch-Commit", "1");
  last.headers.set("Nats-Expected-Stream", stream);

  let answer: Msg;
  try {
    for (const entry of entries.slice(0, -1)) {
      connection.publish(entry.subject, entry.data, { headers: asClient(entry.headers) });
    }
    answer = await connection.request(last.subject, last.data, {
      headers: asClient(last.headers),
      timeout: options.timeoutMs ?? 5_000,
    });
  } catch (cause) {
    if (isRefused(cause)) return { kind: "rejected", code: 0, description: String(cause) };
    return { kind: "unknown", cause };
  }
  return readAnswer(answer, { stream, batchId, count: entries.length });
}

/** Publishing calls `encode()` and nothing else of them. */
function asClient(headers: OutgoingHeaders): MsgHdrs {
  return headers as OutgoingHeaders & MsgHdrs;
}

/** Headers that a message of this project may be given; `Nats-*` of a message that came in are never among them. */
export function newHeaders(): MsgHdrs & OutgoingHeaders {
  // The client's type does not tell of `encode()`.
  return headers() as MsgHdrs & OutgoingHeaders;
}

/** Whether a message of the batch was too large or malformed, or the credential may not publish it: no later try differs. */
function isRefused(cause: unknown): boolean {
  return (
    cause instanceof errors.InvalidArgumentError ||
    cause instanceof errors.PermissionViolationError ||
    (cause instanceof Error && cause.cause !== undefined && isRefused(cause.cause))
  );
}

interface PublishAnswer {
  error?: { code: number; err_code: number; description: string };
  stream?: string;
  seq?: number;
  batch?: string;
  count?: number;
}

function readAnswer(
  answer: Msg,
  expected: { stream: string; batchId: string | undefined; count: number },
): CommitOutcome {
  let body: PublishAnswer;
  try {
    body = answer.json<PublishAnswer>();
  } catch (cause) {
    return { kind: "unknown", cause };
  }
  if (body.error !== undefined) {
    const { code: status, err_code: code, description } = body.error;
    if (CONFLICT.has(code)) return { kind: "conflict" };
    if (BUSY.has(code)) return { kind: "busy", code, description };
    if (STORAGE.has(code)) return { kind: "storage", code, description };
    if (UNKNOWN.has(code)) return { kind: "unknown", cause: new Error(description) };
    // JetStream is there and cannot serve right now.
    if (status === 503) return { kind: "busy", code, description };
    return { kind: "rejected", code, description };
  }
  // A server without batches would store the last message alone and say nothing of a batch.
  const whole =
    expected.batchId === undefined || (body.batch === expected.batchId && body.count === expected.count);
  if (body.stream !== expected.stream || body.seq === undefined || !whole) {
    return { kind: "rejected", code: 0, description: `unexpected answer ${JSON.stringify(body)}` };
  }
  return { kind: "committed", lastSeq: body.seq };
}
