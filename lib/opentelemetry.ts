import {
  type Context,
  createTraceState,
  type DiagLogger,
  DiagLogLevel,
  diag,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from "@opentelemetry/resources";
import { AlwaysOnSampler, BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import type { Logger } from "pino";
import {
  type Attributes,
  MAX_BATCH_MESSAGES,
  type Span,
  type SpanOptions,
  type TraceContext,
} from "../nats/mod.ts";
import type { EnterOptions, Tracing } from "./tracing.ts";

/** The spans that are left when a service stops get so long: whoever takes them may be down. */
const FLUSH_MS = 2_000;
/** That traces cannot be sent is said this often at most. */
const SAY_AGAIN_MS = 60_000;

/**
 * {@linkcode Tracing} by OpenTelemetry's SDK: spans are queued and sent in batches beside the work. While whoever takes them
 * is down, at most a queue of them is kept (`OTEL_BSP_MAX_QUEUE_SIZE`) and the rest dropped.
 *
 * Contexts are handed on by hand: nothing of the SDK is global, and no promise costs more for it.
 */
export class OpenTelemetry implements Tracing {
  readonly #processor: BatchSpanProcessor;
  /** Decides, by `OTEL_TRACES_SAMPLER`. */
  readonly #deciding: OtelTracer;
  /** Does as was decided: it is only asked to begin what is to be recorded. */
  readonly #following: OtelTracer;

  constructor(service: string, { log }: { log: Logger }) {
    diag.setLogger(new SparseDiag(log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
    this.#processor = new BatchSpanProcessor(new OTLPTraceExporter());
    const resource = defaultResource()
      .merge(resourceFromAttributes({ "service.name": service }))
      .merge(detectResources({ detectors: [envDetector] }));
    // One batch links what it carries. The variable is honoured where it is set.
    const spanLimits = process.env.OTEL_SPAN_LINK_COUNT_LIMIT ? {} : { linkCountLimit: MAX_BATCH_MESSAGES };
    const settings = { resource, spanProcessors: [this.#processor], spanLimits };
    const scope = "jetstream-checkout";
    this.#deciding = new NodeTracerProvider(settings).getTracer(scope);
    this.#following = new NodeTracerProvider({ ...settings, sampler: new AlwaysOnSampler() }).getTracer(
      scope,
    );
  }

  enter(name: string, { parent, attributes }: EnterOptions): Span {
    const span = this.#deciding.startSpan(
      name,
      { kind: SpanKind.SERVER, attributes },
      contextOf(parent, { isRemote: true }),
    );
    return new Recorded(span, parent);
  }

  start(name: string, { kind, parent, links, attributes, startedAt }: SpanOptions): Span {
    const options = {
      kind: KINDS[kind],
      attributes,
      ...(links && { links: links.map((link) => ({ context: spanContextOf(link, { isRemote: true }) })) }),
      ...(startedAt !== undefined && { startTime: startedAt }),
    };
    return new Recorded(
      this.#following.startSpan(name, options, contextOf(parent, { isRemote: kind === "consumer" })),
      parent,
    );
  }

  /** Sends what is left, for {@linkcode FLUSH_MS} at most. */
  async [Symbol.asyncDispose](): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, FLUSH_MS);
    // What went wrong was said to the log.
    await Promise.race([this.#processor.shutdown().catch(() => undefined), late.promise]);
    clearTimeout(timer);
  }
}

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

class Recorded implements Span {
  readonly trace: TraceContext;
  readonly #span: OtelSpan;

  constructor(span: OtelSpan, parent: TraceContext | undefined) {
    const { traceId, spanId, traceFlags } = span.spanContext();
    const traceparent = `00-${traceId}-${spanId}-0${traceFlags}`;
    // Vendors' data is passed on as it came.
    this.trace =
      parent?.tracestate === undefined ? { traceparent } : { traceparent, tracestate: parent.tracestate };
    this.#span = span;
  }

  rename(name: string): void {
    this.#span.updateName(name);
  }

  set(attributes: Attributes): void {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined) this.#span.setAttribute(name, value);
    }
  }

  fail(type: string, message?: string): void {
    this.#span.setAttribute("error.type", type);
    this.#span.setStatus({ code: SpanStatusCode.ERROR, ...(message !== undefined && { message }) });
  }

  end(): void {
    this.#span.end();
  }
}

/** @param options.isRemote Whether it is, as a rule, another process that has recorded it. */
function contextOf(parent: TraceContext | undefined, options: { isRemote: boolean }): Context {
  if (parent === undefined) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, spanContextOf(parent, options));
}

function spanContextOf(
  { traceparent, tracestate }: TraceContext,
  { isRemote }: { isRemote: boolean },
): SpanContext {
  return {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: Number.parseInt(traceparent.slice(53), 16),
    isRemote,
    ...(tracestate !== undefined && { traceState: createTraceState(tracestate) }),
  };
}

/** What the SDK has to say, a line a minute at most: an endpoint that is down is one thing to say and not a thousand. */
class SparseDiag implements DiagLogger {
  readonly #log: Logger;
  #saidAt = Number.NEGATIVE_INFINITY;
  #kept = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  error(text: string, ...rest: unknown[]): void {
    this.#say(text, rest);
  }

  warn(text: string, ...rest: unknown[]): void {
    this.#say(text, rest);
  }

  info(): void {
    // Nothing that anybody has to mend.
  }

  debug(): void {
    // As above.
  }

  verbose(): void {
    // As above.
  }

  #say(text: string, rest: readonly unknown[]): void {
    const now = performance.now();
    if (now - this.#saidAt < SAY_AGAIN_MS) {
      this.#kept += 1;
      return;
    }
    const fields = { cause: [text, ...rest.map(String)].join(" "), more_since_last: this.#kept };
    this.#saidAt = now;
    this.#kept = 0;
    this.#log.warn(fields, "traces are not sent as they should be");
  }
}
