import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { MiddlewareHandler } from "hono";
import { z } from "zod";

/**
 * What a route takes and answers, said once: the route reads its query and body by these very schemas, and
 * `GET /openapi.json` describes them. What every route may answer besides ({@linkcode Operation.errors}) is added.
 */
export interface Operation {
  /** Names the operation for generated clients: `getPayment`. Unique within a service. */
  readonly id: string;
  /** One sentence without a period. */
  readonly summary: string;
  readonly description?: string;
  /** Parameters of the path, of which each occurs in it. */
  readonly path?: z.ZodRawShape;
  /** For `readQuery`. */
  readonly query?: z.ZodRawShape;
  /** In lower case. */
  readonly headers?: z.ZodRawShape;
  /** For `readBody`. */
  readonly body?: z.ZodType;
  /** Content types of the body. Default: `application/json`. */
  readonly bodyTypes?: readonly string[];
  /** By status. A bare schema is that of an answer in JSON. */
  readonly answers: Readonly<Record<number, z.ZodType | Answer>>;
  /** Types of the problems that it may answer, without `urn:problem:shop:`, by status. */
  readonly problems?: Readonly<Record<number, readonly string[]>>;
  /**
   * - `problems` (default): what `lib/` may answer to such a route is added: faults of the query or body, no token, too much
   *   at once, streams that cannot be read.
   * - `own`: nothing is. `answers` says it all.
   */
  readonly errors?: "problems" | "own";
}

export interface Answer {
  /** Default: the status in words. */
  readonly description?: string;
  /** Default: there is no body; with `types`, there is nothing to say about it. */
  readonly schema?: z.ZodType;
  /** Default: `application/json`. */
  readonly types?: readonly string[];
  /** Header to what it says. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Names of security schemes ({@linkcode Secured}), of which a request satisfies one. None: it needs no token. */
export type Schemes = readonly SecurityScheme[];
export type SecurityScheme = "operator" | "registrant" | "basic";

const operations = new WeakMap<object, Operation>();
const guards = new WeakMap<object, (method: string) => Schemes>();

/** Describes the route that it is given to: `app.get("/payments/:order", described(getPayment), …)`. Does nothing else. */
export function described(operation: Operation): MiddlewareHandler {
  const middleware: MiddlewareHandler = (_context, next) => next();
  operations.set(middleware, operation);
  return middleware;
}

export function operationOf(handler: object): Operation | undefined {
  return operations.get(handler);
}

/** Says of a middleware which tokens it lets pass, so that the routes behind it are described so. */
export function guarding<M extends MiddlewareHandler>(
  middleware: M,
  schemes: (method: string) => Schemes,
): M {
  guards.set(middleware, schemes);
  return middleware;
}

/** Undefined for what guards nothing. */
export function schemesOf(handler: object, method: string): Schemes | undefined {
  return guards.get(handler)?.(method);
}

/** A text that is one of `words`. Streams keep it as a text, so that the type is no narrower; the description is. */
export function oneOf(words: readonly string[]): z.ZodString {
  return z.string().meta({ enum: [...words] });
}

/** A point in time, as RFC 3339 has it and `toISOString()` writes it. */
export const Time = z.string().meta({ format: "date-time" });

/** A {@linkcode Time} in UTC, of what a message says. */
export function toTime(timestamp: Timestamp | undefined): string | undefined {
  return timestamp && timestampDate(timestamp).toISOString();
}

/** An amount of money in minor units of its currency (see `currency.ts`). */
export const Cents = z.int().meta({
  description: "In the currency's minor unit by ISO 4217: cents of EUR, whole JPY, thousandths of KWD",
});

/** ISO 4217, for example `EUR`. */
export const Currency = z.string().meta({ description: "ISO 4217, for example EUR" });
