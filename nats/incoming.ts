import type { JsMsg } from "@nats-io/jetstream";
import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import type { CommitOutcome } from "./commit.ts";
import type { Log } from "./connection.ts";
import { splitSubject } from "./contracts/contract.ts";
import { changeLetter, DEAD_LETTER_STREAM, type DeadLetter, park, readLetter } from "./dead_letter.ts";
import { isForged } from "./forged.ts";
import { headersOf, type IncomingHeaders } from "./headers.ts";
import { type TraceContext, traceFrom } from "./trace.ts";
import type { Span } from "./tracer.ts";
import { type Due, unwrap, type WaitingContracts } from "./waiting.ts";

/** A stored message, as a consumer delivers it. */
export interface Delivered {
  readonly stream: string;
  readonly seq: number;
  readonly subject: string;
  readonly time: Date;
  /** All of them. */
  readonly headers: MsgHdrs | undefined;
  readonly data: Uint8Array;
}

/**
 * A message that asks for something: one that was delivered, or the one that a redriven dead letter brings back or that has
 * waited, which is dealt with as if its own consumer had delivered it now.
 */
export interface Arrived {
  /** The delivery, which is what gets acknowledged. */
  readonly msg: JsMsg;
  /** What is handled: the same as `msg`, but for what has waited. */
  readonly delivered: Delivered;
  readonly stream: string;
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
  /** Of a message that has waited. */
  readonly due?: Due;
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

/**
 * What a delivery asks for. Undefined for what becomes of a dead letter, unless it is redriven.
 * @param waiting Of a service whose messages may wait.
 */
export function arrivedOf(msg: JsMsg, log: Log, waiting?: WaitingContracts): Arrived | undefined {
  const headers = headersOf(msg);
  const forged = isForged(headers);
  if (waiting !== undefined && !forged && splitSubject(msg.subject).prefix === waiting.due.subject) {
    try {
      const { delivered, due } = unwrap(waiting.due, msg.data);
      const arrived = arrivedAs(delivered, { msg, log, forged, headers: delivered.headers });
      return arrived && { ...arrived, due };
    } catch (cause) {
      // Nobody handles it as it is, so that it is parked.
      log.error({ err: cause, subject: msg.subject, seq: msg.seq }, "cannot read what has waited");
    }
  }
  return arrivedAs(deliveredOf(msg), { msg, log, forged, headers });
}

/** What `msg` is, without its headers being taken apart before somebody asks for them. */
function deliveredOf(msg: JsMsg): Delivered {
  const { seq, subject, time, data } = msg;
  const { stream } = msg.info;
  return {
    stream,
    seq,
    subject,
    time,
    data,
    get headers() {
      return msg.headers;
    },
  };
}

function arrivedAs(
  delivered: Delivered,
  { log, ...as }: Pick<Arrived, "msg" | "forged" | "headers"> & { log: Log },
): Arrived | undefined {
  const { stream, subject, data, seq, time } = delivered;
  if (stream !== DEAD_LETTER_STREAM) {
    return { ...as, delivered, stream, subject, data, seq, storedAt: time };
  }
  let letter: DeadLetter;
  try {
    letter = readLetter({ subject, data, headers: delivered.headers, seq, time });
  } catch (cause) {
    // There is nothing that it could be put aside as. It stays where it is.
    log.error({ err: cause, subject, seq }, "left alone in the dead letters");
    return undefined;
  }
  if (letter.status !== "redriven") return undefined;
  const { sequence, storedAt, headers } = letter;
  return {
    ...as,
    delivered,
    stream: letter.stream,
    subject: letter.subject,
    data,
    headers,
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
  { msg, letter, delivered }: Arrived,
  reason: { service: string; error: string },
): Promise<CommitOutcome> {
  if (letter === undefined) return park(connection, msg, reason, delivered);
  const { deliveryCount: deliveries } = msg.info;
  return changeLetter(connection, letter, { status: "parked", error: reason.error, deliveries });
}
