import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { counted } from "./counted.ts";
import { SERVER_SET } from "./forged.ts";
import { HeaderText, headerBytes, type IncomingHeaders } from "./headers.ts";
import { LinkLostError } from "./link.ts";
import { MAX_PAGE } from "./read.ts";

/** A message as its stream holds it. */
export interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  /** When it was stored; Unix time in milliseconds. */
  readonly timeMs: number;
  readonly data: Uint8Array;
  readonly headers: IncomingHeaders;
  /** Whether it was not written by the owner of its stream (see `isForged`). */
  readonly forged: boolean;
}

export interface Page {
  readonly messages: readonly StoredMessage[];
  /** Messages that match and come after those of the page, as it was read. */
  readonly pending: number;
}

export interface PageOptions {
  /** Default: all subjects of the stream. A filter costs the server a fifth more. */
  subject?: string;
  /** Sequence of the first message that may be in it. Default: the first there is. */
  from?: number;
  /** Instead of `from`: nothing that was stored before this. */
  since?: Date;
  /** Default and maximum: {@linkcode MAX_PAGE}. */
  limit?: number;
}

/** The rest of a page that does not come within this is lost: the connection broke in the middle of it. */
const PAGE_TIMEOUT_MS = 10_000;

/**
 * Messages in stream order, as some replica has them, for who reads many: of their headers only what says which message
 * it is, is looked at. A page may be short of its limit, since the server also bounds it by bytes.
 *
 * Direct Get (ADR-31), which the client can do as well; it takes the headers of each message apart, which is most of what
 * reading it costs.
 *
 * @throws {Error} If the server does not answer in time, or nobody does: `isUnavailable()` knows it.
 */
export function readPage(
  connection: NatsConnection,
  stream: string,
  { subject = ">", from = 1, since, limit = MAX_PAGE }: PageOptions,
): Promise<Page> {
  const start = since === undefined ? { seq: from } : { start_time: since.toISOString() };
  const request = { ...start, next_by_subj: subject, batch: Math.min(limit, MAX_PAGE) };
  return get(connection, stream, { request, what: `${subject} of ${stream}` });
}

/**
 * The last message of each of `subjects`, by subject, as some replica has it; a subject that has none is not in it. As
 * cheap a way of reading as {@linkcode readPage} (multi_last of ADR-31, nats-server 2.11+).
 *
 * @param subjects Literal ones, {@linkcode MAX_PAGE} at most.
 * @throws {RangeError} If there are more.
 * @throws {Error} If the server does not answer in time, or nobody does: `isUnavailable()` knows it.
 */
export async function readLasts(
  connection: NatsConnection,
  stream: string,
  subjects: readonly string[],
): Promise<Map<string, StoredMessage>> {
  if (subjects.length > MAX_PAGE) {
    throw new RangeError(
      `Cannot read ${counted(subjects.length, "subject")} of ${stream}: ${MAX_PAGE} is the most`,
    );
  }
  const found = new Map<string, StoredMessage>();
  let wanted = subjects;
  while (wanted.length > 0) {
    const request = { multi_last: wanted };
    const what = `${counted(wanted.length, "subject")} of ${stream}`;
    const { messages, pending } = await get(connection, stream, { request, what });
    for (const message of messages) found.set(message.subject, message);
    // Bytes are limited, too.
    wanted = pending > 0 ? wanted.filter((subject) => !found.has(subject)) : [];
  }
  return found;
}

async function get(
  connection: NatsConnection,
  stream: string,
  { request, what }: { request: object; what: string },
): Promise<Page> {
  const answers = await connection.requestMany(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify(request), {
    strategy: "timer",
    maxWait: PAGE_TIMEOUT_MS,
    noMux: true,
  });
  const messages: DirectMessage[] = [];
  for await (const answer of answers) {
    const block = headerBlock(answer);
    const status = statusOf(block);
    if (status === undefined) messages.push(new DirectMessage(block, answer.data));
    else if (status === "204" || status === "404")
      return { messages, pending: messages.at(-1)?.pending ?? 0 };
    else throw new LinkLostError(`Cannot read ${what}: the server answers ${status}`);
  }
  throw new LinkLostError(`Cannot read ${what}: no answer within ${PAGE_TIMEOUT_MS} ms`);
}

class DirectMessage implements StoredMessage {
  readonly subject: string;
  readonly seq: number;
  readonly timeMs: number;
  readonly pending: number;
  readonly data: Uint8Array;
  readonly #block: Buffer;

  constructor(block: Buffer, data: Uint8Array) {
    const text = block.toString("latin1");
    this.#block = block;
    this.data = data;
    const [from, to] = rangeOf(text, "Nats-Subject");
    // A string of its own: a part of `text` would keep all of it in memory.
    this.subject = block.toString("utf8", from, to);
    this.seq = Number(text.slice(...rangeOf(text, "Nats-Sequence")));
    this.timeMs = Date.parse(text.slice(...rangeOf(text, "Nats-Time-Stamp")));
    this.pending = Number(text.slice(...rangeOf(text, "Nats-Num-Pending")));
  }

  get headers(): IncomingHeaders {
    return new HeaderText(this.#block);
  }

  /** The server sets these in each answer. There twice, it has set them before: in what is stored. */
  get forged(): boolean {
    const text = this.#block.toString("latin1");
    return SERVER_SET.some((name) => text.indexOf(`\r\n${name}:`) !== text.lastIndexOf(`\r\n${name}:`));
  }
}

/** Where the value of a header begins and ends. The last one of its name: it is the server's, behind the message's own. */
function rangeOf(text: string, name: string): [from: number, to: number] {
  const at = text.lastIndexOf(`\r\n${name}: `);
  if (at < 0) throw new TypeError(`Cannot read a stored message: it has no ${name}`);
  const from = at + name.length + 4;
  return [from, text.indexOf("\r\n", from)];
}

/** What stands behind `NATS/1.0` if this is no message but what is said instead of one. */
function statusOf(block: Buffer): string | undefined {
  return block[8] === 0x20 ? block.toString("latin1", 9, 12) : undefined;
}

/** The bytes of the headers. Of a client that keeps them elsewhere, the headers written anew. */
function headerBlock(message: Msg): Buffer {
  const bytes = headerBytes(message);
  if (bytes !== undefined && bytes.length > 0) {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  return Buffer.from(String(message.headers ?? "NATS/1.0 503\r\n\r\n"));
}

/** Messages under a filter, from a sequence to the end of the stream. */
export async function countFrom(
  connection: NatsConnection,
  stream: string,
  { filter: subject, from }: { filter: string; from: number },
): Promise<number> {
  const { messages, pending } = await readPage(connection, stream, { subject, from, limit: 1 });
  return messages.length + pending;
}
