import { type ConsumerConfig, JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import { withBegin } from "./consumer_begin.ts";

/** A setting that is not as it should be, with both values as text. */
export interface Difference {
  readonly field: string;
  readonly is: string;
  readonly wanted: string;
  /** All of it in one line. */
  readonly text: string;
}

/** Fields of `wanted` that `actual` has otherwise. What `wanted` does not name is the server's business. */
export function compare(wanted: object, actual: object): Difference[] {
  return Object.entries(wanted).flatMap(([field, value]) => {
    const before = canonical(actual[field as keyof typeof actual]);
    const after = canonical(value);
    return before === after
      ? []
      : [{ field, is: before, wanted: after, text: `${field} ${before} → ${after}` }];
  });
}

/** A text by which two values can be compared. The server leaves out what is empty, or says so: it is the same. */
function canonical(value: unknown): string {
  if (value === undefined || value === null || value === false || value === 0) return "unset";
  if (Array.isArray(value)) return value.length === 0 ? "unset" : JSON.stringify([...value].sort());
  if (typeof value !== "object") return JSON.stringify(value);
  return JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => a.localeCompare(b))));
}

/**
 * A consumer's configuration as it is compared: with its filters under one name, since the server gives a single one back under
 * another, and without the place at which it was made to begin.
 */
export function withFilters(actual: ConsumerConfig) {
  const { filter_subject: single, ...config } = withBegin(actual);
  return single === undefined ? config : { ...config, filter_subjects: [single] };
}

/** What a stream's or consumer's `info()` resolves to, or undefined if there is none. */
export async function orMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (cause) {
    const missing = [JetStreamApiCodes.StreamNotFound, JetStreamApiCodes.ConsumerNotFound] as number[];
    if (cause instanceof JetStreamApiError && missing.includes(cause.code)) return undefined;
    throw cause;
  }
}
