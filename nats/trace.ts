import { randomBytes } from "node:crypto";

/**
 * Where a piece of work stands in a distributed trace, as W3C Trace Context headers carry it
 * (https://www.w3.org/TR/trace-context/, version 00).
 */
export interface TraceContext {
  /** `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`. */
  readonly traceparent: string;
  /** Vendor data, passed on as it came. */
  readonly tracestate?: string;
}

const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The context in these header values, or a new trace where there is none or a malformed one. */
export function traceFrom(traceparent: string | undefined, tracestate: string | undefined): TraceContext {
  return readTrace(traceparent, tracestate) ?? newTrace();
}

/** The context in these header values, undefined where there is none or a malformed one. */
export function readTrace(
  traceparent: string | undefined,
  tracestate: string | undefined,
): TraceContext | undefined {
  if (traceparent === undefined || !TRACEPARENT.test(traceparent)) return undefined;
  return tracestate ? { traceparent, tracestate } : { traceparent };
}

/**
 * The beginning of a trace, not sampled: nobody records it. (nats-server takes all headers of a sampled message apart, to
 * see whether it is to be traced through the server.)
 */
export function newTrace(): TraceContext {
  return { traceparent: `00-${randomId()}-${randomHex(16)}-00` };
}

/** Whether somebody records the trace: the flag that its first process has set, or not, for all. */
export function isSampled({ traceparent }: TraceContext): boolean {
  return !traceparent.endsWith("-00") && (Number.parseInt(traceparent.slice(53), 16) & 1) === 1;
}

/** The 32 hex digits that name the whole trace. */
export function traceId(trace: TraceContext): string {
  return trace.traceparent.slice(3, 35);
}

/** 128 random bits in hex. */
export function randomId(): string {
  return randomHex(32);
}

/** Random digits are drawn this many at a time: a call into the generator costs more than the digits. */
const POOL_DIGITS = 8_192;
let pool = "";
let used = 0;

function randomHex(digits: number): string {
  if (used + digits > pool.length) {
    pool = randomBytes(POOL_DIGITS / 2).toString("hex");
    used = 0;
  }
  used += digits;
  return pool.slice(used - digits, used);
}
