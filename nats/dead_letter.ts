import type { JsMsg } from "@nats-io/jetstream";
import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { type BatchEntry, type CommitOutcome, commit, newHeaders } from "./commit.ts";
import { splitSubject } from "./contracts/contract.ts";
import { isForged } from "./forged.ts";
import type { Delivered } from "./incoming.ts";

export const DEAD_LETTER_STREAM = "DEAD_LETTER";
/** First token of all subjects of the stream. */
export const DEAD_LETTER_PREFIX = "dead_letter";

/**
 * Where a dead letter stands. `parked`: somebody has to look at it. `redriven`: on its way back to its service.
 * `handled`: its service has handled it since. `discarded`: somebody decided that nothing will be done about it.
 */
export const deadLetterStatuses = ["parked", "redriven", "handled", "discarded"] as const;
export type DeadLetterStatus = (typeof deadLetterStatuses)[number];

/** A message that one consumer could not handle, with what became of it since. */
export interface DeadLetter {
  /** `<service>.<consumer>.<stream>.<sequence>`: the same for as long as there is a trace of it. */
  readonly id: string;
  /** Sequence in `DEAD_LETTER` of the letter's last change, under which the next one is guarded. */
  readonly seq: number;
  readonly status: DeadLetterStatus;
  /** When that changed last. */
  readonly changedAt: Date;
  readonly service: string;
  readonly consumer: string;
  /** Where the message is stored, and as what. */
  readonly stream: string;
  readonly sequence: number;
  readonly subject: string;
  readonly storedAt: Date;
  /** The subject without its id. */
  readonly type: string;
  readonly error: string;
  /** How often it was delivered before it was parked last. */
  readonly deliveries: number;
  /** How often it was parked. */
  readonly attempt: number;
  readonly parkedAt: Date;
  /** It was not written by the owner of its stream, and is never redriven. */
  readonly forged: boolean;
  /** Who redrove or discarded it last, and why. Empty if nobody has. */
  readonly by: string;
  readonly note: string;
  /** As they came, without the server's own and without `dead-letter-*`. */
  readonly headers: MsgHdrs;
  readonly data: Uint8Array;
}

/** Why and by whom a message is given up. */
export interface DeadLetterReason {
  service: string;
  error: string;
}

/** A change of a letter's status. */
export interface DeadLetterChange {
  status: DeadLetterStatus;
  by?: string;
  note?: string;
  /** Of a letter that is parked again. */
  error?: string;
  deliveries?: number;
}

/** A header is one line, and no place for a stack. */
const MAX_HEADER_TEXT = 1_000;

/**
 * Parks a message that its consumer cannot handle, so that the rest can flow on: payload and headers as they came
 * (without the server's own `Nats-*`), plus `dead-letter-*` headers that say where it was and what went wrong.
 *
 * Once per consumer and stream sequence, whatever is redelivered: the subject
 * `dead_letter.<service>.<consumer>.<stream>.<sequence>` is written under the guard that it does not exist. All that
 * happens to the letter later is stored under the same subject, each time whole: its history stays.
 *
 * @param message What is parked. Default: what `msg` delivered.
 * @returns `committed`, or `conflict` if it was parked before; anything else means that it is not parked for sure.
 */
export function park(
  connection: NatsConnection,
  msg: JsMsg,
  reason: DeadLetterReason,
  message: Omit<Delivered, "stream"> & { stream?: string } = msg,
): Promise<CommitOutcome> {
  const { consumer, deliveryCount } = msg.info;
  const { stream = msg.info.stream, seq, subject: from, time, data } = message;
  const headers = withoutReserved(message.headers);
  headers.set("dead-letter-service", reason.service);
  headers.set("dead-letter-consumer", consumer);
  headers.set("dead-letter-stream", stream);
  headers.set("dead-letter-sequence", String(seq));
  headers.set("dead-letter-subject", from);
  headers.set("dead-letter-stored", time.toISOString());
  headers.set("dead-letter-type", splitSubject(from).prefix);
  headers.set("dead-letter-deliveries", String(deliveryCount));
  headers.set("dead-letter-time", new Date().toISOString());
  headers.set("dead-letter-error", oneLine(reason.error));
  headers.set("dead-letter-status", "parked" satisfies DeadLetterStatus);
  headers.set("dead-letter-attempt", "1");
  // The mark by which it is known is the server's own, and not kept.
  if (isForged(message.headers)) headers.set("dead-letter-forged", "true");
  const subject = `${DEAD_LETTER_PREFIX}.${reason.service}.${consumer}.${stream}.${seq}`;
  return commit(connection, DEAD_LETTER_STREAM, [{ subject, data, headers, expect: 0 }]);
}

/**
 * Stores what becomes of a letter, unless somebody else was faster: the guard is the change that `letter` shows.
 * @returns As {@linkcode park}: `conflict` if the letter has changed since it was read.
 */
export function changeLetter(
  connection: NatsConnection,
  letter: DeadLetter,
  change: DeadLetterChange,
): Promise<CommitOutcome> {
  return commit(connection, DEAD_LETTER_STREAM, [changeEntry(letter, change)]);
}

function changeEntry(letter: DeadLetter, change: DeadLetterChange): BatchEntry {
  const parked = change.status === "parked";
  const headers = withoutReserved(letter.headers);
  headers.set("dead-letter-service", letter.service);
  headers.set("dead-letter-consumer", letter.consumer);
  headers.set("dead-letter-stream", letter.stream);
  headers.set("dead-letter-sequence", String(letter.sequence));
  headers.set("dead-letter-subject", letter.subject);
  headers.set("dead-letter-stored", letter.storedAt.toISOString());
  headers.set("dead-letter-type", letter.type);
  headers.set("dead-letter-deliveries", String(change.deliveries ?? letter.deliveries));
  headers.set("dead-letter-time", (parked ? new Date() : letter.parkedAt).toISOString());
  headers.set("dead-letter-error", oneLine(change.error ?? letter.error));
  headers.set("dead-letter-status", change.status);
  headers.set("dead-letter-attempt", String(letter.attempt + (parked ? 1 : 0)));
  if (letter.forged) headers.set("dead-letter-forged", "true");
  const { by = letter.by, note = letter.note } = change;
  if (by !== "") headers.set("dead-letter-by", oneLine(by));
  if (note !== "") headers.set("dead-letter-note", oneLine(note));
  return { subject: `${DEAD_LETTER_PREFIX}.${letter.id}`, data: letter.data, headers, expect: letter.seq };
}

/**
 * The letter that a message of `DEAD_LETTER` stores.
 * @throws {TypeError} If it is none: the headers that make it one are missing.
 */
export function readLetter(stored: {
  subject: string;
  seq: number;
  time: Date;
  headers: MsgHdrs | undefined;
  data: Uint8Array;
}): DeadLetter {
  const get = (name: string) => stored.headers?.get(`dead-letter-${name}`) ?? "";
  const [service = "", consumer = "", stream = "", sequence = ""] = stored.subject.split(".").slice(1);
  const subject = get("subject");
  const status = (get("status") || "parked") as DeadLetterStatus;
  if (subject === "" || !/^\d+$/.test(sequence) || !deadLetterStatuses.includes(status)) {
    throw new TypeError(`Cannot read message ${stored.seq} of ${DEAD_LETTER_STREAM}: it is no dead letter`);
  }
  const parkedAt = toDate(get("time")) ?? stored.time;
  return {
    id: `${service}.${consumer}.${stream}.${sequence}`,
    seq: stored.seq,
    status,
    changedAt: stored.time,
    service,
    consumer,
    stream,
    sequence: Number(sequence),
    subject,
    storedAt: toDate(get("stored")) ?? parkedAt,
    type: splitSubject(subject).prefix,
    error: get("error"),
    deliveries: Number(get("deliveries")) || 0,
    attempt: Number(get("attempt")) || 1,
    parkedAt,
    forged: get("forged") === "true",
    by: get("by"),
    note: get("note"),
    headers: withoutReserved(stored.headers),
    data: stored.data,
  };
}

/** A copy without what the server and this file have written. */
function withoutReserved(headers: MsgHdrs | undefined): ReturnType<typeof newHeaders> {
  const copy = newHeaders();
  for (const name of headers?.keys() ?? []) {
    if (/^(nats-|dead-letter-)/i.test(name)) continue;
    for (const value of headers?.values(name) ?? []) copy.append(name, value);
  }
  return copy;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").slice(0, MAX_HEADER_TEXT);
}

function toDate(text: string): Date | undefined {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
