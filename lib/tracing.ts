import type { Logger } from "pino";
import type { Span, TraceContext, Tracer } from "../nats/mod.ts";
import type { CommonConfig } from "./config.ts";

/** Where a service records what it does, until it is disposed of. */
export interface Tracing extends Tracer, AsyncDisposable {
  /**
   * Begins the span of a request from outside, and decides whether its trace is recorded: the only place where that is
   * decided. If not, the span records nothing, and its trace says so to all that comes of the request.
   */
  enter(name: string, options: EnterOptions): Span;
}

export interface EnterOptions {
  /** What the request came with. */
  parent: TraceContext | undefined;
  attributes: Record<string, string>;
}

/**
 * Traces as OpenTelemetry's variables want them, sent by OTLP; undefined where none of them names an endpoint, or one of them
 * says no. Its packages are loaded only if they are needed.
 */
export async function openTracing(
  service: string,
  { config, log }: { config: CommonConfig; log: Logger },
): Promise<Tracing | undefined> {
  const endpoint = config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? config.OTEL_EXPORTER_OTLP_ENDPOINT;
  const off = config.OTEL_SDK_DISABLED === "true" || config.OTEL_TRACES_EXPORTER === "none";
  if (endpoint === undefined || off) return undefined;
  const { OpenTelemetry } = await import("./opentelemetry.ts");
  // Without what may be a secret in it.
  const { origin, pathname } = new URL(endpoint);
  log.info({ endpoint: `${origin}${pathname}` }, "traces are recorded");
  return new OpenTelemetry(service, { log });
}
