import { createHash, randomBytes } from "node:crypto";
import { getConnInfo } from "@hono/node-server/conninfo";
import type { Context, MiddlewareHandler } from "hono";
import { Problem } from "./problem.ts";

/**
 * Requests under way at the same time, event streams not counted. Each holds a body of 64 KiB at most, and the ledger
 * works off about a thousand a second: who waits behind four thousand others waits too long already.
 */
export const MAX_IN_FLIGHT = 4_096;

/** Answered whatever the load: an overloaded process is not a dead one, and its figures say what is going on. */
export const alwaysAnswered: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/metrics"]);

/** Answers 503 to requests beyond `max` under way, before anything of them is read. */
export function limitInFlight(max: number): MiddlewareHandler {
  let inFlight = 0;
  return async (context, next) => {
    if (alwaysAnswered.has(context.req.path)) return next();
    if (inFlight >= max) {
      throw new Problem(503, "overloaded", {
        title: "Overloaded",
        detail: "As many requests are under way as this process takes. Nothing of this one was carried out",
        headers: { "retry-after": "1" },
      });
    }
    inFlight += 1;
    try {
      await next();
    } finally {
      inFlight -= 1;
    }
  };
}

export interface RateLimit {
  /** Requests a second that a client may send on average. */
  perSecond: number;
  /** Requests that it may send at once after a pause. */
  burst: number;
  /** Proxies in front of the service, each of which adds the address that it sees to `X-Forwarded-For`. Default 0. */
  trustedProxies?: number;
}

/** Counters, about 200 bytes each. Clients that share one share its allowance, which one in 65,536 may happen to. */
const COUNTERS = 65_536;

/**
 * Answers 429 to a client that sends more than `burst` requests in the time in which it may send `burst` on average. A
 * client is an address. Each process counts for itself.
 */
export function limitRate({ perSecond, burst, trustedProxies = 0 }: RateLimit): MiddlewareHandler {
  // Most services limit nobody, and start without it.
  const loaded = import("rate-limiter-flexible").then(({ RateLimiterMemory, RateLimiterRes }) => {
    const limiter = new RateLimiterMemory({ points: burst, duration: burst / perSecond });
    return { limiter, RateLimiterRes };
  });
  // Nobody can choose whom to share a counter with.
  const salt = randomBytes(16);
  return async (context, next) => {
    const hash = createHash("sha256").update(salt).update(clientAddress(context, trustedProxies)).digest();
    const { limiter, RateLimiterRes } = await loaded;
    try {
      await limiter.consume(hash.readUInt32BE() % COUNTERS);
    } catch (cause) {
      if (!(cause instanceof RateLimiterRes)) throw cause;
      throw new Problem(429, "too-many-requests", {
        title: "Too many requests",
        detail: `A client may send ${perSecond} such requests a second. Nothing of this one was carried out`,
        headers: { "retry-after": String(Math.max(1, Math.ceil(cause.msBeforeNext / 1000))) },
      });
    }
    await next();
  };
}

/** What a client writes into the header itself stands further to the left than what proxies add. */
function clientAddress(context: Context, trustedProxies: number): string {
  const forwarded = context.req.header("x-forwarded-for")?.split(",") ?? [];
  const told = trustedProxies > 0 ? forwarded.at(-trustedProxies)?.trim() : undefined;
  return told ?? getConnInfo(context).remote.address ?? "unknown";
}
