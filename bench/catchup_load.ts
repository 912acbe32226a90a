import { setTimeout as sleep } from "node:timers/promises";
import { orderRequests } from "./load.ts";
import { type Latency, latencyOf } from "./stats.ts";
import type { Target } from "./target.ts";

/** One order of a steady load. Times are of `performance.now()`. */
export interface Timed {
  /** When the schedule wanted it placed: what is late at the generator counts as waiting. */
  readonly dueAt: number;
  /** Undefined if it did not complete. */
  readonly endedAt?: number;
  /** Why it did not complete. */
  readonly error?: string;
}

export interface SteadyLoad {
  /** Places no more orders. Resolves with all of them, in the order in which they were due, when the last one has ended. */
  stop(): Promise<Timed[]>;
}

export interface SteadyOptions {
  /** Orders a second. */
  readonly rate: number;
  readonly signal: AbortSignal;
  /** How long orders may take to end after the last one was placed. Default 60,000. */
  readonly drainMs?: number;
}

const DRAIN_MS = 60_000;
const LOOK_EVERY_MS = 100;

/** Places orders at a fixed rate, however long each takes, until it is stopped or `signal` aborts. */
export function startSteadyLoad(
  checkout: Target["checkout"],
  { rate, signal, drainMs = DRAIN_MS }: SteadyOptions,
): SteadyLoad {
  const next = orderRequests();
  const stopping = new AbortController();
  const ended = AbortSignal.any([signal, stopping.signal]);
  const orders: Promise<void>[] = [];
  const results: Timed[] = [];
  const place = async (index: number, dueAt: number) => {
    results[index] = { dueAt, error: "not ended in time" };
    try {
      await checkout(next());
      results[index] = { dueAt, endedAt: performance.now() };
    } catch (cause) {
      results[index] = { dueAt, error: cause instanceof Error ? cause.message : String(cause) };
    }
  };
  const placing = (async () => {
    const startedAt = performance.now();
    for (let i = 0; !ended.aborted; i++) {
      const dueAt = startedAt + (i * 1_000) / rate;
      const early = dueAt - performance.now();
      if (early > 0) await sleep(early, undefined, { signal: ended }).catch(() => undefined);
      if (!ended.aborted) orders.push(place(i, dueAt));
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await placing;
      const drained = new AbortController();
      const late = sleep(drainMs, undefined, { signal: AbortSignal.any([signal, drained.signal]) });
      // Whoever aborts it wants no result.
      await Promise.race([Promise.all(orders), late.catch(() => undefined)]);
      drained.abort();
      signal.throwIfAborted();
      return [...results];
    },
  };
}

/** Latencies from due to completed, of orders that were due in `[from, to)`. */
export function latencyWithin(orders: readonly Timed[], { from, to }: { from: number; to: number }): Latency {
  const due = orders.filter(({ dueAt }) => dueAt >= from && dueAt < to);
  return latencyOf(due.flatMap(({ dueAt, endedAt }) => (endedAt === undefined ? [] : [endedAt - dueAt])));
}

/**
 * Places orders, `inFlight` at a time, until `isEnough` says so; then waits for those in flight.
 *
 * @returns How many completed.
 * @throws {Error} The first failure of an order or of `isEnough`. The signal's reason, if it aborts.
 */
export async function placeUntil(
  isEnough: () => Promise<boolean>,
  { checkout, inFlight, signal }: { checkout: Target["checkout"]; inFlight: number; signal: AbortSignal },
): Promise<number> {
  const next = orderRequests();
  let placing = true;
  let completed = 0;
  const watch = async () => {
    while (placing && !(await isEnough())) await sleep(LOOK_EVERY_MS, undefined, { signal });
    placing = false;
  };
  const customer = async () => {
    while (placing) {
      signal.throwIfAborted();
      await checkout(next());
      completed += 1;
    }
  };
  try {
    await Promise.all([watch(), ...Array.from({ length: inFlight }, customer)]);
    return completed;
  } finally {
    placing = false;
  }
}
