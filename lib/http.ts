import { type Context, Hono } from "hono";
import { routePath } from "hono/route";
import { secureHeaders } from "hono/secure-headers";
import type { Logger } from "pino";
import {
  isUnavailable,
  LedgerBusyError,
  LedgerTimeoutError,
  type TraceContext,
  traceFrom,
  traceId,
} from "../nats/mod.ts";
import { limitBody, MAX_BODY_BYTES, malformed } from "./body.ts";
import { limitInFlight, MAX_IN_FLIGHT } from "./limits.ts";
import type { Metrics } from "./metrics.ts";
import { Problem, problemResponse } from "./problem.ts";
import { RequestLog } from "./request_log.ts";
import { beginRequest, endRequest } from "./request_span.ts";
import type { Tracing } from "./tracing.ts";

/** What the routes of a service find in their context. */
export interface Env {
  Variables: { trace: TraceContext; log: RequestLog };
}

/**
 * The ground of a service's HTTP interface: trace context from `traceparent`, a log line and a metric for each request,
 * security headers, limits on bodies and on requests under way, and every error as RFC 9457 problem details without a word about the inside.
 */
export function createApp(options: {
  log: Logger;
  metrics: Metrics;
  /** Default: no request is recorded. */
  tracing?: Tracing | undefined;
  /** Default {@linkcode MAX_IN_FLIGHT}. */
  maxInFlight?: number;
  /** Default {@linkcode MAX_BODY_BYTES}. */
  maxBodyBytes?: number;
}): Hono<Env> {
  const { metrics, tracing, maxInFlight = MAX_IN_FLIGHT, maxBodyBytes = MAX_BODY_BYTES } = options;
  const app = new Hono<Env>();
  app.use(async (context, next) => {
    const started = performance.now();
    const span = tracing && beginRequest(tracing, context.req);
    const trace =
      span?.trace ?? traceFrom(context.req.header("traceparent"), context.req.header("tracestate"));
    const log = new RequestLog(options.log, { trace_id: traceId(trace) });
    context.set("trace", trace);
    context.set("log", log);
    await next();
    // The answer to HEAD has no body, so nobody would ever read one that is a stream, or end it.
    if (context.req.method === "HEAD") await context.res.body?.cancel();
    const seconds = (performance.now() - started) / 1000;
    const { method, path } = context.req;
    const { status } = context.res;
    const route = routePath(context, -1);
    metrics.httpSeconds.observe({ method, route, status }, seconds);
    if (span !== undefined) endRequest(span, { method, route, status });
    log.debug({ method, path, status, ms: Math.round(seconds * 1000) }, "request");
  });
  app.use(secureHeaders());
  app.use(limitInFlight(maxInFlight));
  app.use(limitBody(maxBodyBytes));
  app.notFound((context) => problemResponse(context, notFoundProblem(app, context.req)));
  app.onError((cause, context) => problemResponse(context, toProblem(cause, context)));
  return app;
}

/** 405 with the methods that there are, if there are any; else 404. */
function notFoundProblem(app: Hono<Env>, { method, path }: { method: string; path: string }): Problem {
  const allowed = ["GET", "POST", "PUT", "PATCH", "DELETE"].filter((other) => {
    const [matches] = app.router.match(other, path);
    return matches.some(([[, route]]) => route.method === other);
  });
  if (allowed.length === 0) {
    return new Problem(404, "not-found", { title: "Not found", detail: `There is no ${path}` });
  }
  return new Problem(405, "method-not-allowed", {
    title: "Method not allowed",
    detail: `${path} takes ${allowed.join(", ")} and not ${method}`,
    headers: { allow: allowed.join(", ") },
  });
}

/** What a client is told of an error that ended its request. What is not its own fault is logged. */
export function toProblem(cause: Error, { req, var: { log } }: Context<Env>): Problem {
  const { path } = req;
  if (cause instanceof Problem) return cause;
  // The client went away in the middle of its request; nobody reads the answer.
  if (isBrokenOff(cause)) {
    log.debug({ path }, "a request was broken off");
    return malformed("The body ended too early");
  }
  const unavailable = unavailableProblem(cause);
  if (unavailable !== undefined) {
    log.warn({ err: cause, path }, "a request could not be served in time");
    return unavailable;
  }
  log.error({ err: cause, path }, "a request failed");
  return new Problem(500, "internal", {
    title: "Internal error",
    detail: "The request could not be carried out",
  });
}

function isBrokenOff(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ECONNRESET";
}

/** What a client is told when the ledger or the server behind it has no answer right now. */
function unavailableProblem(cause: unknown): Problem | undefined {
  const unstored = cause instanceof LedgerTimeoutError || cause instanceof LedgerBusyError;
  if (!unstored && !isUnavailable(cause)) return undefined;
  return new Problem(503, "unavailable", {
    title: "Not available right now",
    detail: unstored
      ? "The request may or may not have been stored. Send it again: it will be carried out once"
      : "The streams cannot be read right now. Try again",
    headers: { "retry-after": "1" },
  });
}

/** Time that a request may wait for its commit. A client that gives up earlier may send the request again. */
const REQUEST_DEADLINE_MS = 10_000;
/** Requests that come within this share a signal, which aborts so much earlier for the last of them. */
const SHARE_MS = 50;
/** Whoever comes or goes looks through the others that listen. */
const MAX_SHARERS = 32;

const deadline = { signal: AbortSignal.abort(), until: 0, left: 0 };

/** Aborts when a request has waited long enough for the ledger. */
export function requestDeadline(): AbortSignal {
  const now = performance.now();
  if (deadline.left === 0 || now >= deadline.until) {
    deadline.signal = AbortSignal.timeout(REQUEST_DEADLINE_MS);
    deadline.until = now + SHARE_MS;
    deadline.left = MAX_SHARERS;
  }
  deadline.left -= 1;
  return deadline.signal;
}
