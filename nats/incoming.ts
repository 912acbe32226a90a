import type { JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { CommitOutcome } from "./commit.ts";
import type { Log } from "./connection.ts";
import { changeLetter, DEAD_LETTER_STREAM, type DeadLetter, park, readLetter } from "./dead_letter.ts";
import { isForged } from "./forged.ts";
import { headersOf, type IncomingHeaders } from "./headers.ts";
import { type TraceContext, traceFrom } from "./trace.ts";
import type { Span } from "./tracer.ts";

/**
 * A message that asks for something: one that was delivered, or the one that a redriven dead letter brings back, which is
 * dealt with as if its own consumer had delivered it now.
 */
export interface Arrived {
  /** The delivery, which is what gets acknowledged. */
  readonly msg: JsMsg;
  readonly subject: string;
  readonly data: Uint8Array;
  /** As its sender wrote them. */
  readonly headers: IncomingHeaders | undefined;
  /** Whether what was delivered was written by the server in answer to somebody's question, and not by its owner. */
  readonly forged: boolean;
  readonly seq: number;
  readonly storedAt: Date;
  /** Of a message that was redriven. */
  readonly letter?: DeadLetter;
}

/** A message to handle. */
export interface Incoming extends Arrived {
  /** The trace that the message carries, or the beginning of one. */
  readonly trace: TraceContext;
  /** Of its handling, if its trace is recorded; `trace` is its own then. */
  readonly span?: Span;
}

/** CloudEvents `ce-id`. */
export function messageIdOf({ headers }: Arrived): string | undefined {
  return headers?.get("ce-id") || undefined;
}

/** What a delivery asks for. Undefined for what becomes of a dead letter, unless it is redriven. */
export function arrivedOf(msg: JsMsg, log: Log): Arrived | undefined {
  const { subject, data, seq, time } = msg;
  const headers = headersOf(msg);
  const forged = isForged(headers);
  if (msg.info.stream !== DEAD_LETTER_STREAM) {
    return { msg, subject, data, headers, forged, seq, storedAt: time };
  }
  let letter: DeadLetter;
  try {
    letter = readLetter({ subject, data, headers: msg.headers, seq, time });
  } catch (cause) {
    // There is nothing that it could be put aside as. It stays where it is.
    log.error({ err: cause, subject, seq }, "left alone in the dead letters");
    return undefined;
  }
  if (letter.status !== "redriven") return undefined;
  const { sequence, storedAt } = letter;
  return {
    msg,
    subject: letter.subject,
    data,
    headers: letter.headers,
    forged,
    seq: sequence,
    storedAt,
    letter,
  };
}

/** The trace that the headers name, or the beginning of one. */
export function traceOf({ headers }: Arrived): TraceContext {
  return traceFrom(headers?.get("traceparent"), headers?.get("tracestate") || undefined);
}

/**
 * Parks a message. One that was redriven is parked again: another attempt of the same letter.
 * @returns `committed`, or `conflict` if that was done before.
 */
export function giveUp(
  connection: NatsConnection,
  { msg, letter }: Arrived,
  reason: { service: string; error: string },
): Promise<CommitOutcome> {
  if (letter === undefined) return park(connection, msg, reason);
  const { deliveryCount: deliveries } = msg.info;
  return changeLetter(connection, letter, { status: "parked", error: reason.error, deliveries });
}
