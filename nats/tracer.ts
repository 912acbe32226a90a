import type { TraceContext } from "./trace.ts";

export type Attributes = Record<string, string | number | boolean | undefined>;

export interface SpanOptions {
  kind: "server" | "client" | "producer" | "consumer" | "internal";
  /** The span, here or in another process, that this one belongs under. Default: none, it is the root of a trace of its own. */
  parent?: TraceContext | undefined;
  /** Spans of other traces, or of other branches, that this one has to do with. */
  links?: readonly TraceContext[];
  attributes: Attributes;
  /** When the work began, `performance.now()`. Default: now. */
  startedAt?: number;
}

/** Work that is under way. One that is never ended is never heard of. */
export interface Span {
  /** What is done within this work is given this. */
  readonly trace: TraceContext;
  /** For what is known only later, such as the route of a request. */
  rename(name: string): void;
  /** Adds to the attributes; undefined leaves one as it is. */
  set(attributes: Attributes): void;
  /** Marks the work as failed: `type` is a class of errors (`error.type`), `message` a text for people. */
  fail(type: string, message?: string): void;
  end(): void;
}

/**
 * Where spans are recorded. Whoever records decides once about each trace whether it does: from then on the flag in the
 * `traceparent` says so, in every process. Spans are only begun for traces that have it, so that the others cost nothing.
 */
export interface Tracer {
  /** Begins a span that is recorded. */
  start(name: string, options: SpanOptions): Span;
}
