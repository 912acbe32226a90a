import { traceId } from "../trace.ts";
import type { OpenInStory, Story, StoryEntry } from "./story.ts";

export interface StoryJsonOptions {
  /** Address of a trace in whatever shows traces, with `{trace_id}` where its id goes. Default: none. */
  traceUrl?: string | undefined;
  /**
   * Whether it is for an operator, who may read why a dead letter was parked, who decided a review and with which note, and
   * which rules hit. Default false: it is for whoever knows the order's id.
   */
  operator?: boolean;
}

/** Whether a text can be {@linkcode StoryJsonOptions.traceUrl}. */
export function isTraceUrl(text: string): boolean {
  return /^https?:/.test(text) && text.includes("{trace_id}") && URL.canParse(text);
}

/** A story as outsiders see it. */
export interface StoryJson {
  order_id: string;
  trace_id?: string;
  trace_url?: string;
  entries: EntryJson[];
  /** Dead letters of its messages that nobody has handled since. */
  dead_letters?: LetterJson[];
  /** There is more than is shown. */
  truncated?: true;
}

export interface LetterJson {
  id: string;
  status: string;
  service: string;
  /** The subject without the order. */
  type: string;
  since: string;
  /** The order stays where it is for it. */
  holds_up: boolean;
}

export interface EntryJson {
  /** RFC 3339, in UTC, by the server's clock. */
  at: string;
  /** Since the first entry. */
  after_ms: number;
  stream: string;
  sequence: number;
  subject: string;
  kind: StoryEntry["kind"];
  service: string;
  says: string;
  /** Entries of the same number were stored as one. */
  decision: number;
  id?: string;
  batch?: { id: string; sequence: number };
  cause?: { stream: string; sequence: number };
  /** Which delivery of the cause it was decided at, if not the first. */
  delivery?: number;
  timer_at?: string;
  timer_cancelled?: true;
  deadline?: string;
  traceparent?: string;
  dead_letter?: { id: string; status: string; deliveries: number; attempt: number };
  waits_for?: { service: string; progress: string; redelivered: number }[];
  /** For operators. */
  details?: Readonly<Record<string, string>>;
}

export function storyJson(
  { orderId, entries, open, truncated }: Story,
  { traceUrl, operator = false }: StoryJsonOptions = {},
): StoryJson {
  const trace = entries.find((entry) => entry.trace !== undefined)?.trace;
  const id = trace && traceId(trace);
  const begin = entries[0]?.at ?? 0;
  return {
    order_id: orderId,
    ...(id !== undefined && { trace_id: id }),
    ...(id !== undefined && traceUrl !== undefined && { trace_url: traceUrl.replaceAll("{trace_id}", id) }),
    entries: entries.map((entry) => entryJson(entry, { begin, operator })),
    ...(open.length > 0 && { dead_letters: open.map(letterJson) }),
    ...(truncated && { truncated }),
  };
}

function entryJson(entry: StoryEntry, { begin, operator }: { begin: number; operator: boolean }): EntryJson {
  const { at, stream, seq, subject, kind, service, says, decision } = entry;
  const { id, batch, cause, timerAt, deadline, trace, letter, waitsFor, details } = entry;
  return {
    at: time(at),
    after_ms: at - begin,
    stream,
    sequence: seq,
    subject,
    kind,
    service,
    says,
    decision,
    ...(id !== undefined && { id }),
    ...(batch && { batch }),
    ...(cause && { cause: { stream: cause.stream, sequence: cause.seq } }),
    ...(cause && cause.attempt > 1 && { delivery: cause.attempt }),
    ...(timerAt !== undefined && { timer_at: time(timerAt) }),
    ...(entry.cancelsTimer && { timer_cancelled: true }),
    ...(deadline !== undefined && { deadline: time(deadline) }),
    ...(trace && { traceparent: trace.traceparent }),
    ...(letter && {
      dead_letter: {
        id: letter.id,
        status: letter.status,
        deliveries: letter.deliveries,
        attempt: letter.attempt,
      },
    }),
    ...(waitsFor.length > 0 && {
      waits_for: waitsFor.map(({ service, progress, redelivered }) => ({ service, progress, redelivered })),
    }),
    ...(operator && details && { details }),
  };
}

function letterJson({ letter, holdsUp }: OpenInStory): LetterJson {
  const { id, status, service, type, parkedAt } = letter;
  return { id, status, service, type, since: parkedAt.toISOString(), holds_up: holdsUp };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
