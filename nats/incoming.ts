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
 * A message to handle: one that was delivered, or the one that a redriven dead letter brings back, which is handled as
 * if its own consumer had delivered it now.
 */
export interface Incoming {
  /** The delivery, which is what gets acknowledged. */
  readonly msg: JsMsg;
  readonly subject: string;
  readonly data: Uint8Array;
  /** The trace that the message carries, or the beginning of one. */
  readonly trace: TraceContext;
  /** The schema that the message names (`ce-dataschema`), empty if it names none. */
  readonly dataSchema: string;
  /** Whether what was delivered was written by the server in answer to somebody's question, and not by its owner. */
  readonly forged: boolean;
  readonly seq: number;
  readonly storedAt: Date;
  /** Of a message that was redriven. */
  readonly letter?: DeadLetter;
  /** Of its handling, if its trace is recorded; `trace` is its own then. */
  readonly span?: Span;
}

/** CloudEvents `ce-id`. */
export function messageIdOf({ msg, letter }: Incoming): string | undefined {
  return (letter?.headers ?? headersOf(msg))?.get("ce-id") || undefined;
}

/** What a delivery asks for. Undefined for what becomes of a dead letter, unless it is redriven. */
export function incomingOf(msg: JsMsg, log: Log): Incoming | undefined {
  const { subject, data, seq, time } = msg;
  const delivered = headersOf(msg);
  const forged = isForged(delivered);
  if (msg.info.stream !== DEAD_LETTER_STREAM) {
    return { msg, subject, data, ...statedBy(delivered), forged, seq, storedAt: time };
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
  const stated = statedBy(letter.headers);
  return { msg, subject: letter.subject, data, ...stated, forged, seq: sequence, storedAt, letter };
}

function statedBy(headers: IncomingHeaders | undefined): Pick<Incoming, "trace" | "dataSchema"> {
  const trace = traceFrom(headers?.get("traceparent"), headers?.get("tracestate") || undefined);
  return { trace, dataSchema: headers?.get("ce-dataschema") ?? "" };
}

/**
 * Parks a message. One that was redriven is parked again: another attempt of the same letter.
 * @returns `committed`, or `conflict` if that was done before.
 */
export function giveUp(
  connection: NatsConnection,
  { msg, letter }: Incoming,
  reason: { service: string; error: string },
): Promise<CommitOutcome> {
  if (letter === undefined) return park(connection, msg, reason);
  const { deliveryCount: deliveries } = msg.info;
  return changeLetter(connection, letter, { status: "parked", error: reason.error, deliveries });
}
