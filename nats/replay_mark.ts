import { JetStreamApiError } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { z } from "zod";
import { type CommitOutcome, commit, newHeaders } from "./commit.ts";
import { type ConsumerName, nameOf } from "./consumer_name.ts";
import { isForged } from "./forged.ts";
import { HeaderText } from "./headers.ts";
import { REPLAYS } from "./topology.ts";

/** The stream behind the bucket of marks. */
export const REPLAYS_STREAM = `KV_${REPLAYS}`;

/** A mark names so many parked messages at most: 80 kB of sequences, far below what a message may have. */
export const MAX_PARKED = 10_000;

const schema = z.object({
  up_to: z.int().min(0),
  delivered: z.int().min(0),
  stored_until: z.iso.datetime(),
  parked: z.array(z.int().min(1)).max(MAX_PARKED),
  from: z.int().min(1),
  by: z.string(),
  at: z.iso.datetime(),
});

/**
 * What was replayed to a consumer: what tells a delivery that is a replay from one that is not. One a consumer, of which the
 * last one holds; `up_to` never becomes less. Sequences are the stream's.
 */
export interface ReplayMark {
  /**
   * All up to this was acknowledged before the consumer was reset: a delivery up to this is a replay. It is the consumer's
   * ack floor and not what was delivered: what was under way at the time (a charge whose capture is pending) is no replay.
   */
  readonly up_to: number;
  /** All up to this was delivered before, and may have been tried. The server forgets that with a reset. */
  readonly delivered: number;
  /** When the stream's last message was stored by then: a stream that was made anew has other messages under these sequences. */
  readonly stored_until: string;
  /** Up to `up_to`, the messages that the service has parked: what becomes of them is their dead letter's business. */
  readonly parked: readonly number[];
  /** What was asked for last, by whom and when. */
  readonly from: number;
  readonly by: string;
  readonly at: string;
}

/** A mark is not readable. Until an operator has mended it, nobody knows what is a replay. */
export class UnreadableMarkError extends Error {
  override name = "UnreadableMarkError";
}

const READ_TIMEOUT_MS = 5_000;
const NO_MESSAGE_FOUND = 10_037;
const STREAM_NOT_FOUND = 10_059;

/**
 * The mark of a consumer as the stream's leader has it, and the sequence under which it is guarded: 0 and undefined if
 * nothing was ever replayed. A server without the bucket has no marks.
 *
 * @throws {UnreadableMarkError} If what is stored is no mark, or was not written by the operator.
 * @throws {Error} If the server does not answer.
 */
export async function readReplayMark(
  connection: NatsConnection,
  consumer: ConsumerName,
): Promise<{ seq: number; mark: ReplayMark | undefined }> {
  const subject = subjectOf(consumer);
  const question = JSON.stringify({ last_by_subj: subject });
  const options = { timeout: READ_TIMEOUT_MS };
  const answer = await connection.request(`$JS.API.STREAM.MSG.GET.${REPLAYS_STREAM}`, question, options);
  const { error, message } = answer.json<Answer>();
  if (error?.err_code === NO_MESSAGE_FOUND || error?.err_code === STREAM_NOT_FOUND) {
    return { seq: 0, mark: undefined };
  }
  if (error !== undefined) throw new JetStreamApiError({ err_code: 0, description: "", ...error });
  const { seq = 0, hdrs, data = "" } = message ?? {};
  const unreadable = (why: string) =>
    new UnreadableMarkError(`Cannot tell what was replayed to ${nameOf(consumer)}: ${subject} ${why}`);
  // ADR 8: an answer of the server that somebody had stored here.
  if (hdrs !== undefined && isForged(new HeaderText(Buffer.from(hdrs, "base64")))) {
    throw unreadable("was not written by the operator");
  }
  const parsed = schema.safeParse(jsonOf(Buffer.from(data, "base64").toString()));
  if (!parsed.success) throw unreadable(`is no mark: ${z.prettifyError(parsed.error)}`);
  return { seq, mark: parsed.data };
}

/** Stores a mark unless somebody else has stored one since `expect`. Only the operator may. */
export function writeReplayMark(
  connection: NatsConnection,
  consumer: ConsumerName,
  { mark, expect }: { mark: ReplayMark; expect: number },
): Promise<CommitOutcome> {
  const data = Buffer.from(JSON.stringify(mark));
  return commit(connection, REPLAYS_STREAM, [
    { subject: subjectOf(consumer), data, headers: newHeaders(), expect },
  ]);
}

function subjectOf({ stream, name }: ConsumerName): string {
  return `$KV.${REPLAYS}.${stream}.${name}`;
}

/** The JetStream API's answer to `STREAM.MSG.GET`. `hdrs` and `data` are base64. */
interface Answer {
  error?: { code: number; err_code?: number; description?: string };
  message?: { seq: number; hdrs?: string; data?: string };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
