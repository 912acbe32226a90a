import type { Context, Hono, MiddlewareHandler } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type Env, type Problem, toProblem } from "../../lib/mod.ts";
import {
  isUnavailable,
  LedgerBusyError,
  LedgerTimeoutError,
  RegistryCode,
  RegistryError,
} from "../../nats/mod.ts";
import { types } from "./operation.ts";

/** JSON under the content type that the client prefers. */
export function answer(context: Context, body: unknown, status: ContentfulStatusCode = 200): Response {
  return answerText(context, JSON.stringify(body), status);
}

/** A body that is a schema's text, or JSON, under the content type that the client prefers. */
export function answerText(context: Context, text: string, status: ContentfulStatusCode = 200): Response {
  return context.body(text, status, { "content-type": preferred(context.req.header("accept")) });
}

function preferred(accept: string | undefined): string {
  const wanted = accept?.split(",").map((range) => range.split(";", 1)[0]?.trim().toLowerCase()) ?? [];
  return types.find((type) => wanted.includes(type)) ?? types[0];
}

/** Answers 415 to a body of another type. None, and octet-stream, count as JSON. */
export function checkContentType(): MiddlewareHandler {
  const known = new Set<string>([...types, "application/octet-stream", ""]);
  return async (context, next) => {
    const type = context.req.header("content-type")?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
    const { method } = context.req;
    if ((method === "POST" || method === "PUT") && !known.has(type)) {
      return answerError(context, 415, 415, `Send the body as ${types.join(", ")}, and not as ${type}`);
    }
    return next();
  };
}

export function answerError(
  context: Context,
  status: ContentfulStatusCode,
  errorCode: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  for (const [name, value] of Object.entries(headers)) context.header(name, value);
  return answer(context, { error_code: errorCode, message }, status);
}

/** Every error as `{"error_code","message"}`: the first three digits of the code are the status. */
export function answerCause(cause: Error, context: Context<Env>): Response {
  if (cause instanceof RegistryError) {
    const status = Math.floor(cause.code / 100);
    const retry = cause.code === RegistryCode.Timeout ? { "retry-after": "1" } : {};
    return answerError(context, status as ContentfulStatusCode, cause.code, cause.message, retry);
  }
  const problem = toProblem(cause, context);
  const code = codeOf(problem, cause);
  const status = code < 1_000 ? problem.status : (Math.floor(code / 100) as ContentfulStatusCode);
  return answerError(context, status, code, problem.message, problem.headers);
}

function codeOf({ status }: Problem, cause: Error): number {
  if (status === 413) return RegistryCode.TooLarge;
  if (cause instanceof LedgerTimeoutError || cause instanceof LedgerBusyError) return RegistryCode.Timeout;
  return status === 500 || isUnavailable(cause) ? RegistryCode.Store : status;
}

/** 405 with the methods that there are, if there are any; else 404. */
export function answerUnknown(context: Context<Env>, app: Hono<Env>): Response {
  const { method, path } = context.req;
  const allowed = ["GET", "POST", "PUT", "DELETE"].filter((other) => {
    const [matches] = app.router.match(other, path);
    return matches.some(([[, route]]) => route.method === other);
  });
  if (allowed.length === 0) return answerError(context, 404, 404, `There is no ${path}`);
  const allow = allowed.join(", ");
  return answerError(context, 405, 405, `${path} takes ${allow} and not ${method}`, { allow });
}
