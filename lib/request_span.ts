import type { HonoRequest } from "hono";
import { readTrace, type Span } from "../nats/mod.ts";
import { alwaysAnswered } from "./limits.ts";
import type { Tracing } from "./tracing.ts";

// By OpenTelemetry's semantic conventions for HTTP (https://opentelemetry.io/docs/specs/semconv/http/http-spans/).

/** Begins the span of a request; none of one that only asks how the process is. */
export function beginRequest(tracing: Tracing, request: HonoRequest): Span | undefined {
  const { method, path, url } = request;
  if (alwaysAnswered.has(path)) return undefined;
  return tracing.enter(method, {
    parent: readTrace(request.header("traceparent"), request.header("tracestate")),
    attributes: {
      "http.request.method": method,
      "url.path": path,
      "url.scheme": url.slice(0, url.indexOf(":")),
    },
  });
}

/** Ends it with the answer. That a client asked for what there is not is no failure of the server. */
export function endRequest(
  span: Span,
  { method, route, status }: { method: string; route: string; status: number },
): void {
  // Where no route took it there is only what middleware is mounted on.
  const known = !route.includes("*");
  if (known) span.rename(`${method} ${route}`);
  span.set({ "http.response.status_code": status, "http.route": known ? route : undefined });
  if (status >= 500) span.fail(String(status));
  span.end();
}
