import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { routePath } from "hono/route";
import { secureHeaders } from "hono/secure-headers";
import type { Logger } from "pino";
import type { z } from "zod";
import {
  isUnavailable,
  LedgerBusyError,
  LedgerTimeoutError,
  type TraceContext,
  traceFrom,
  traceId,
} from "../nats/mod.ts";
import { limitInFlight, MAX_IN_FLIGHT } from "./limits.ts";
import type { Metrics } from "./metrics.ts";
import { Problem, problemResponse } from "./problem.ts";

/** What the routes of a service find in their context. */
export interface Env {
  Variables: { trace: TraceContext; log: Logger };
}

const JSON_TYPE = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i;

/** An order of a hundred lines takes about 6 KiB. */
const MAX_BODY_BYTES = 64 * 1024;

/**
 * The ground of a service's HTTP interface: trace context from `traceparent`, a log line and a metric for each request,
 * security headers, limits on bodies and on requests under way, and every error as RFC 9457 problem details without a word about the inside.
 */
export function createApp(options: {
  log: Logger;
  metrics: Metrics;
  /** Default {@linkcode MAX_IN_FLIGHT}. */
  maxInFlight?: number;
}): Hono<Env> {
  const { metrics, maxInFlight = MAX_IN_FLIGHT } = options;
  const app = new Hono<Env>();
  app.use(async (context, next) => {
    const started = performance.now();
    const trace = traceFrom(context.req.header("traceparent"), context.req.header("tracestate"));
    const log = options.log.child({ trace_id: traceId(trace) });
    context.set("trace", trace);
    context.set("log", log);
    await next();
    const seconds = (performance.now() - started) / 1000;
    const { method, path } = context.req;
    const { status } = context.res;
    metrics.httpSeconds.observe({ method, route: routePath(context, -1), status }, seconds);
    log.debug({ method, path, status, ms: Math.round(seconds * 1000) }, "request");
  });
  app.use(secureHeaders());
  app.use(limitInFlight(maxInFlight));
  app.use(
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: () => {
        throw new Problem(413, "body-too-large", {
          title: "Body too large",
          detail: `The body of a request may have ${MAX_BODY_BYTES} bytes`,
          // The rest of the body is not read, so nothing else can come over this connection.
          headers: { connection: "close" },
        });
      },
    }),
  );
  app.notFound((context) => problemResponse(context, notFoundProblem(app, context.req)));
  app.onError((cause, context) => {
    if (cause instanceof Problem) return problemResponse(context, cause);
    // The client went away in the middle of its request; nobody reads the answer.
    if (isBrokenOff(cause)) {
      context.var.log.debug({ path: context.req.path }, "a request was broken off");
      return problemResponse(context, malformed("The body ended too early"));
    }
    const unavailable = unavailableProblem(cause);
    if (unavailable !== undefined) {
      context.var.log.warn({ err: cause, path: context.req.path }, "a request could not be served in time");
      return problemResponse(context, unavailable);
    }
    context.var.log.error({ err: cause, path: context.req.path }, "a request failed");
    return problemResponse(
      context,
      new Problem(500, "internal", {
        title: "Internal error",
        detail: "The request could not be carried out",
      }),
    );
  });
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

function isBrokenOff(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ECONNRESET";
}

function malformed(detail: string): Problem {
  return new Problem(400, "malformed-json", { title: "Malformed JSON", detail });
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

/**
 * The request's JSON body, checked.
 * @throws {Problem} 415 for another content type, 400 for what is no JSON, 422 with every fault and its place for what
 * does not fit the schema.
 */
export async function readBody<S extends z.ZodType>(request: Request, schema: S): Promise<z.infer<S>> {
  const type = request.headers.get("content-type") ?? "";
  if (!JSON_TYPE.test(type) || request.headers.has("content-encoding")) {
    throw new Problem(415, "unsupported-media-type", {
      title: "Unsupported media type",
      detail: "Send the body as `Content-Type: application/json`, in UTF-8 and without a Content-Encoding",
    });
  }
  const bytes = await request.arrayBuffer();
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw malformed("The body is not valid JSON in UTF-8");
  }
  const read = schema.safeParse(body);
  if (read.success) return read.data;
  const errors = read.error.issues.map((issue) => ({ pointer: pointer(issue.path), detail: issue.message }));
  throw new Problem(422, "invalid-request", {
    title: "Invalid request",
    detail: errors.map((error) => `${error.pointer || "body"}: ${error.detail}`).join("; "),
    extra: { errors },
  });
}

/** RFC 6901. */
function pointer(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** Time that a request may wait for its commit. A client that gives up earlier may send the request again. */
const REQUEST_DEADLINE_MS = 10_000;

/** Aborts when a request has waited long enough for the ledger. */
export function requestDeadline(): AbortSignal {
  return AbortSignal.timeout(REQUEST_DEADLINE_MS);
}
