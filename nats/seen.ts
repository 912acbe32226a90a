import type { JetStreamManager, StreamInfo } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { orMissing } from "./compare.ts";
import { askLeader } from "./read.ts";
import { RESTORES, streamOf } from "./topology.ts";

/**
 * What somebody remembers of a stream: it was made then, and had this message last. A store that was restored from a backup is
 * another one after the backup: it ends before that message, or has got another one in its place since.
 */
export interface Seen {
  readonly stream: string;
  /** When the stream was made; RFC 3339, as the server says it. */
  readonly created: string;
  /** Its last message, 0 if there was none, and when that was stored; RFC 3339. */
  readonly seq: number;
  readonly storedAt: string;
  /** When this was noted, by the clock of who did; Unix time in milliseconds. */
  readonly notedAt: number;
}

/** A stream that is not what somebody remembers. */
export interface OlderStream {
  readonly stream: string;
  /** Why, in half a sentence: `it has 1100 messages, and had 1204`. */
  readonly why: string;
}

/** An operator's word that a store was restored on purpose. What was remembered before that does not count. */
export interface Acceptance {
  /** Unix time in milliseconds. */
  readonly at: number;
  readonly by: string;
}

type Client = { connection: NatsConnection; jsm: JetStreamManager };

const ACCEPTED = "accepted";
/** Streams that a line names: as a rule it is all of them. */
const MAX_NAMED = 2;

function seenOf({ config, created, state }: StreamInfo): Seen {
  const { last_seq: seq, last_ts: storedAt } = state;
  return { stream: config.name, created, seq, storedAt, notedAt: Date.now() };
}

async function whyOlder(
  { jsm }: Client,
  seen: Seen,
  info: StreamInfo | undefined,
): Promise<string | undefined> {
  if (info === undefined) return "it is missing";
  if (info.created !== seen.created) return `it was made at ${info.created}, and not at ${seen.created}`;
  const { last_seq: last } = info.state;
  if (last < seen.seq) return `it has ${last} messages, and had ${seen.seq}`;
  if (last === seen.seq && info.state.last_ts === seen.storedAt) return undefined;
  if (seen.seq === 0) return undefined;
  // Messages may be removed, such as timers. Those that are there stay what they are.
  const message = await jsm.direct.getMessage(seen.stream, { seq: seen.seq });
  if (message === null || !isOtherMoment(message.time, new Date(seen.storedAt))) return undefined;
  return `message ${seen.seq} was stored at ${message.time.toISOString()}, and one of ${seen.storedAt} was seen`;
}

/**
 * Whether a message that was stored at `a` is another one than that of `b`. The client reads a moment now from nanoseconds, as a
 * number that has no room for all of them, and now from text: they may differ by a millisecond.
 */
export function isOtherMoment(a: Date, b: Date): boolean {
  return Math.abs(a.getTime() - b.getTime()) > 1;
}

/** What is wrong and what to do, in a line. */
export function olderText(older: readonly OlderStream[]): string {
  const named = older.slice(0, MAX_NAMED).map(({ stream, why }) => `${stream}: ${why}`);
  const others = older.length > MAX_NAMED ? [`and ${older.length - MAX_NAMED} more`] : [];
  const streams = [...named, ...others].join("; ");
  return (
    `this store is older than what was seen of it (${streams}). Stop, and restore a newer backup; or, if this is the newest, ` +
    `accept it: npm run ops -- restored accept`
  );
}

/** @throws {Error} If the server does not answer. */
export async function readAcceptance(connection: NatsConnection): Promise<Acceptance | undefined> {
  const { name, prefix } = streamOf({ name: RESTORES });
  const message = await askLeader(connection, name, { last_by_subj: `${prefix}.${ACCEPTED}` });
  if (message?.data === undefined) return undefined;
  return JSON.parse(Buffer.from(message.data, "base64").toString()) as Acceptance;
}

/** With the operator's credential. @throws {Error} If it was not stored. */
export async function acceptRestore(
  { connection }: Pick<Client, "connection">,
  acceptance: Acceptance,
): Promise<void> {
  const { prefix } = streamOf({ name: RESTORES });
  const answer = await connection.request(`${prefix}.${ACCEPTED}`, JSON.stringify(acceptance));
  const { error } = answer.json<{ error?: { description: string } }>();
  if (error !== undefined)
    throw new Error(`Cannot record that the restore is accepted: ${error.description}`);
}

/** Remembers streams, and notices when they are older than that. */
export class StoreMemory {
  readonly #client: Client;
  readonly #streams: readonly string[];
  #remembered: readonly Seen[];
  #older: readonly OlderStream[] = [];

  /** @param remembered What an earlier process has noted. Default: nothing. */
  constructor(client: Client, streams: readonly string[], remembered: readonly Seen[] = []) {
    this.#client = client;
    this.#streams = streams;
    this.#remembered = remembered;
  }

  get remembered(): readonly Seen[] {
    return this.#remembered;
  }

  /** What the last look has found to be older; empty if all is well. */
  get older(): readonly OlderStream[] {
    return this.#older;
  }

  /**
   * Compares the streams with what is remembered and, if they are not older or an operator has accepted that since, remembers
   * them as they are now. One request for each stream, and another one where it has grown.
   *
   * @throws {Error} If the server does not answer. What is remembered stays.
   */
  async look(): Promise<readonly OlderStream[]> {
    const { connection, jsm } = this.#client;
    const infos = await Promise.all(this.#streams.map((stream) => orMissing(jsm.streams.info(stream))));
    const compared = await Promise.all(
      this.#remembered.map(async (seen) => {
        const info = infos.find((it) => it?.config.name === seen.stream);
        return { seen, why: await whyOlder(this.#client, seen, info) };
      }),
    );
    const older = compared.flatMap(({ seen, why }) => (why === undefined ? [] : [{ seen, why }]));
    const accepted = older.length === 0 ? undefined : await readAcceptance(connection);
    this.#older = older
      .filter(({ seen }) => accepted === undefined || accepted.at <= seen.notedAt)
      .map(({ seen: { stream }, why }) => ({ stream, why }));
    if (this.#older.length === 0) this.#remembered = infos.flatMap((info) => (info ? [seenOf(info)] : []));
    return this.#older;
  }
}
