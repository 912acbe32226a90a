import type { IncomingHeaders } from "./headers.ts";

/** The message that a decision was made about, and by which of its deliveries. */
export interface Cause {
  readonly stream: string;
  readonly seq: number;
  /** As `Delivery.attempt`: 1 for the first delivery. */
  readonly attempt: number;
}

// Extension attributes of CloudEvents, in binary mode: small letters and digits, `ce-` before them (ADR 14).
const CAUSE = "ce-cause";
const DELIVERY_COUNT = "ce-deliverycount";

/**
 * What the messages of a decision say of its cause: `ce-cause: CHECKOUT/42`, and only if that was not the first time that it
 * was delivered, `ce-deliverycount: 3`. Made once for all of them.
 */
export function causeLines({ stream, seq, attempt }: Cause): string {
  // The name of a stream and numbers: nothing that could be a line of its own.
  const line = `${CAUSE}: ${stream}/${seq}\r\n`;
  return attempt > 1 ? `${line}${DELIVERY_COUNT}: ${attempt}\r\n` : line;
}

/** What a stored message says of its cause; undefined if nothing, or nothing that can be one. */
export function readCause(headers: Pick<IncomingHeaders, "get">): Cause | undefined {
  const [, stream, seq] = /^([\w-]{1,64})\/([1-9]\d{0,15})$/.exec(headers.get(CAUSE)) ?? [];
  if (stream === undefined) return undefined;
  const count = headers.get(DELIVERY_COUNT);
  return { stream, seq: Number(seq), attempt: /^[1-9]\d{0,8}$/.test(count) ? Number(count) : 1 };
}
