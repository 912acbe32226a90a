import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import {
  type BatchCallback,
  JetStreamApiError,
  type JetStreamManager,
  type StoredMsg,
} from "@nats-io/jetstream";
import type { NatsConnection, QueuedIterator } from "@nats-io/transport-node";
import { type Contract, decode, type Key, splitSubject, subjectOf } from "./contracts/contract.ts";
import { counted } from "./counted.ts";
import { isForged } from "./forged.ts";
import { HeaderText } from "./headers.ts";
import { LinkLostError } from "./link.ts";
import { readTrace, type TraceContext } from "./trace.ts";

/** What is stored as the state of a key is not a message of its schema. Reading it again does not help. */
export class UnreadableStateError extends Error {
  override name = "UnreadableStateError";
}

/** What is stored last under a key: `seq` is 0 and the rest undefined if there is nothing. */
export interface Last<S extends DescMessage = DescMessage> {
  seq: number;
  value: MessageShape<S> | undefined;
  /** The trace that the message belongs to, if it says so. */
  trace: TraceContext | undefined;
}

/**
 * The last message of `key`, read from the stream's leader: what a decision may be based on.
 *
 * @throws {UnreadableStateError} If the message cannot be decoded, or was not written by the stream's owner.
 * @throws {Error} If the server does not answer.
 */
export async function readLast<S extends DescMessage>(
  connection: NatsConnection,
  stream: string,
  key: Key<S>,
): Promise<Last<S>> {
  const stored = await askLeader(connection, stream, { last_by_subj: key.subject });
  if (stored === undefined) return { seq: 0, value: undefined, trace: undefined };
  const { seq, hdrs, data = "" } = stored;
  const headers = hdrs === undefined ? undefined : new HeaderText(Buffer.from(hdrs, "base64"));
  if (isForged(headers)) {
    throw new UnreadableStateError(
      `Cannot trust ${key.subject}: message ${seq} of ${stream} was not written by its owner`,
    );
  }
  try {
    const trace = readTrace(headers?.get("traceparent"), headers?.get("tracestate"));
    return { seq, value: decode(key.contract, Buffer.from(data, "base64")), trace };
  } catch (cause) {
    throw new UnreadableStateError(
      `Cannot read ${key.subject}: message ${seq} of ${stream} is no ${key.contract.schema.typeName}`,
      { cause },
    );
  }
}

/** A message as the JetStream API's `STREAM.MSG.GET` has it. `hdrs` and `data` are base64. */
export interface LeaderMessage {
  subject: string;
  seq: number;
  hdrs?: string;
  data?: string;
}

interface MessageAnswer {
  error?: { code: number; err_code?: number; description?: string };
  message?: LeaderMessage;
}

const NO_MESSAGE_FOUND = 10_037;
const READ_TIMEOUT_MS = 5_000;

/**
 * One message, read from the stream's leader; undefined if there is none. A subject may have wildcards.
 *
 * Asked without the client's manager, which makes two errors, with their stacks, of the answer that there is no message.
 * @throws {Error} If the server does not answer.
 */
export async function askLeader(
  connection: NatsConnection,
  stream: string,
  question: { last_by_subj: string } | { seq: number },
): Promise<LeaderMessage | undefined> {
  const subject = `$JS.API.STREAM.MSG.GET.${stream}`;
  const answer = await connection.request(subject, JSON.stringify(question), { timeout: READ_TIMEOUT_MS });
  const { error, message } = answer.json<MessageAnswer>();
  if (error?.err_code === NO_MESSAGE_FOUND) return undefined;
  if (error !== undefined) throw new JetStreamApiError({ err_code: 0, description: "", ...error });
  return message;
}

/**
 * The last message of `key`, as some replica has it: for answers that may be a moment old, never for decisions.
 * Works on any stream that the credential may view.
 */
export async function viewLast<S extends DescMessage>(
  jsm: JetStreamManager,
  stream: string,
  key: Key<S>,
): Promise<MessageShape<S> | undefined> {
  const stored = await jsm.direct.getMessage(stream, { last_by_subj: key.subject });
  return stored === null ? undefined : decode(key.contract, stored.data);
}

/**
 * The last message of each of `keys`, in their order, as {@linkcode viewLast} has it, and undefined where there is none.
 * One request for as many as the server gives at a time (ADR-31, nats-server 2.11+).
 *
 * @throws {UnreadableStateError} If one of them cannot be decoded.
 * @throws {LinkLostError} If the server does not answer in time.
 */
export async function viewMany<S extends DescMessage>(
  jsm: JetStreamManager,
  stream: string,
  keys: readonly Key<S>[],
): Promise<(MessageShape<S> | undefined)[]> {
  const found = new Map<string, Uint8Array>();
  for (let from = 0; from < keys.length; from += MAX_PAGE) {
    let wanted = keys.slice(from, from + MAX_PAGE).map(({ subject }) => subject);
    while (wanted.length > 0) {
      const request = { multi_last: wanted };
      const stored = await collect(`${counted(wanted.length, "message")} of ${stream}`, (callback) =>
        jsm.direct.getLastMessagesFor(stream, { ...request, callback }),
      );
      for (const { subject, data } of stored) found.set(subject, data);
      // Bytes are limited, too.
      const more = (stored.at(-1)?.pending ?? 0) > 0;
      wanted = more ? wanted.filter((subject) => !found.has(subject)) : [];
    }
  }
  return keys.map(({ subject, contract }) => {
    const data = found.get(subject);
    try {
      return data && decode(contract, data);
    } catch (cause) {
      throw new UnreadableStateError(
        `Cannot read ${subject} of ${stream}: it is no ${contract.schema.typeName}`,
        {
          cause,
        },
      );
    }
  });
}

/**
 * As {@linkcode viewMany}, and `unreadable` for a message that cannot be decoded. Costs more only where there is one: halves are
 * read again.
 *
 * @throws {LinkLostError} If the server does not answer in time.
 */
export async function viewReadable<S extends DescMessage>(
  jsm: JetStreamManager,
  stream: string,
  keys: readonly Key<S>[],
): Promise<(MessageShape<S> | undefined | "unreadable")[]> {
  try {
    return await viewMany(jsm, stream, keys);
  } catch (cause) {
    if (!(cause instanceof UnreadableStateError)) throw cause;
    if (keys.length === 1) return ["unreadable"];
    const middle = Math.ceil(keys.length / 2);
    return [
      ...(await viewReadable(jsm, stream, keys.slice(0, middle))),
      ...(await viewReadable(jsm, stream, keys.slice(middle))),
    ];
  }
}

/** One message of a {@linkcode viewPage}. */
export interface Viewed<S extends DescMessage> {
  id: string;
  seq: number;
  value: MessageShape<S>;
}

/** Messages that one page may hold: the server's limit for one Direct Get. */
export const MAX_PAGE = 1_000;

/**
 * Messages of one contract in stream order, from sequence `from` on, `limit` at most. May be a moment old.
 * Costs by the page, not by the length of the stream. No consumer is made.
 */
export async function viewPage<S extends DescMessage>(
  jsm: JetStreamManager,
  stream: string,
  contract: Contract<S>,
  options: { from: number; limit: number },
): Promise<Viewed<S>[]> {
  const { from, limit } = options;
  const stored = await viewStored(jsm, stream, { subject: `${contract.subject}.>`, from, limit });
  return stored.map(({ subject, seq, data }) => ({
    id: splitSubject(subject).id,
    seq,
    value: decode(contract, data),
  }));
}

/**
 * A page of the entities that wait in a queue: the messages of `index` say which, oldest first, and `state` has where each of them
 * stands now, which may be past waiting.
 *
 * @returns The last state of each, undefined where there is none; `next` is where the next page begins, undefined after the last.
 */
export async function viewQueue<S extends DescMessage>(
  jsm: JetStreamManager,
  stream: string,
  { index, state, from, limit }: { index: Contract; state: Contract<S>; from: number; limit: number },
): Promise<{ states: (MessageShape<S> | undefined)[]; next: number | undefined }> {
  // One more than asked for tells whether there is a next page.
  const entries = await viewPage(jsm, stream, index, { from, limit: limit + 1 });
  const keys = entries.slice(0, limit).map(({ id }) => ({ subject: subjectOf(state, id), contract: state }));
  const states = await viewMany(jsm, stream, keys);
  return { states, next: entries[limit]?.seq };
}

/** The rest of a page that does not come within this is lost: the connection broke in the middle of it. */
const PAGE_TIMEOUT_MS = 10_000;

/**
 * Messages as they are stored, in stream order, whatever they carry: those whose subject matches `subject`, from sequence
 * `from` or time `since` on, `limit` at most and never more than {@linkcode MAX_PAGE}. A page may be short of its limit,
 * since the server also bounds it by bytes; the end is an empty one.
 *
 * @throws {LinkLostError} If the server does not answer in time.
 */
export async function viewStored(
  jsm: JetStreamManager,
  stream: string,
  options: { subject: string; from?: number | undefined; since?: Date | undefined; limit: number },
): Promise<StoredMsg[]> {
  const { subject, from, since, limit } = options;
  const request = {
    ...(from === undefined && since !== undefined ? { start_time: since } : { seq: Math.max(1, from ?? 1) }),
    next_by_subj: subject,
    batch: Math.min(limit, MAX_PAGE),
  };
  return collect(`${subject} of ${stream}`, (callback) =>
    jsm.direct.getBatch(stream, { ...request, callback }),
  );
}

/**
 * Everything that one request is answered with. The client's iterator would leave its subscription behind, which is why
 * this takes the callback.
 */
export async function collect(
  what: string,
  ask: (callback: BatchCallback<StoredMsg>) => Promise<QueuedIterator<StoredMsg>>,
): Promise<StoredMsg[]> {
  const stored: StoredMsg[] = [];
  const done = Promise.withResolvers<void>();
  const batch = await ask((end, message) => {
    if (end === null) stored.push(message);
    else if (end.err === undefined || isNotFound(end.err)) done.resolve();
    else done.reject(end.err);
  });
  const late = setTimeout(() => {
    batch.stop(new LinkLostError(`Cannot read ${what}: no answer within ${PAGE_TIMEOUT_MS} ms`));
  }, PAGE_TIMEOUT_MS);
  try {
    await done.promise;
  } finally {
    clearTimeout(late);
  }
  return stored;
}

/** Every message of a contract, in stream order, page by page. */
export async function* viewAll<S extends DescMessage>(
  jsm: JetStreamManager,
  stream: string,
  contract: Contract<S>,
): AsyncGenerator<Viewed<S>> {
  for (let from = 1; ; ) {
    const page = await viewPage(jsm, stream, contract, { from, limit: MAX_PAGE });
    yield* page;
    const last = page.at(-1);
    // A page may be short of its limit, since the server also bounds it by bytes; the end is an empty one.
    if (last === undefined) return;
    from = last.seq + 1;
  }
}

function isNotFound(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === 404;
}
