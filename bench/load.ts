import { setTimeout as sleep } from "node:timers/promises";
import { type Latency, latencyOf } from "./stats.ts";
import { skus as allSkus, type OrderRequest, type Target } from "./target.ts";

export interface LoadOptions<S> {
  /** Orders in flight: each that ends is followed by the next one at once. */
  readonly concurrency: number;
  /** Length of the measured window. */
  readonly seconds: number;
  /** Load before the window, not measured. Default 2. */
  readonly warmupSeconds?: number;
  /** How long the orders that are in flight when the window closes may take to end. Default 60. */
  readonly drainSeconds?: number;
  /** Default: all of `target.ts`, evenly. */
  readonly skus?: readonly string[];
  /** Called when the window opens and when it closes: what else is counted. */
  readonly sample: () => S | Promise<S>;
  readonly signal: AbortSignal;
}

export interface LoadResult<S> {
  readonly concurrency: number;
  /** Completed within the window, by its length. */
  readonly perSecond: number;
  readonly completed: number;
  /** Of orders that were placed within the window, those included that ended after it. */
  readonly accept: Latency;
  readonly end: Latency;
  /** Refused, ended otherwise than completed, or not ended in time, at any time. */
  readonly errors: number;
  readonly firstErrors: readonly string[];
  readonly opened: S;
  readonly closed: S;
}

/** A target that is down fails faster than it can be asked. Nobody needs more errors to know. */
const MAX_ERRORS = 1_000;
const ERRORS_NAMED = 3;
const WARMUP_SECONDS = 2;
const DRAIN_SECONDS = 60;

/**
 * Keeps `concurrency` orders in flight (a closed loop), measures for `seconds`, and waits for what is in flight then.
 *
 * @throws The signal's reason, if it aborts.
 */
export async function runLoad<S>(
  checkout: Target["checkout"],
  options: LoadOptions<S>,
): Promise<LoadResult<S>> {
  const { concurrency, sample, signal } = options;
  const orders = orderRequests(options.skus);
  const accepts: number[] = [];
  const ends: number[] = [];
  const errors: string[] = [];
  let completed = 0;
  let inFlight = concurrency;
  let measuring = false;
  let placing = true;

  const customer = async () => {
    while (placing) {
      const counted = measuring;
      try {
        const { acceptedMs, endedMs } = await checkout(orders());
        completed += 1;
        if (!counted) continue;
        accepts.push(acceptedMs);
        ends.push(endedMs);
      } catch (cause) {
        errors.push(cause instanceof Error ? cause.message : String(cause));
        if (errors.length >= MAX_ERRORS) placing = false;
      }
    }
    inFlight -= 1;
  };

  try {
    const customers = Promise.all(Array.from({ length: concurrency }, customer));
    await sleep((options.warmupSeconds ?? WARMUP_SECONDS) * 1_000, undefined, { signal });
    // All are read in one instant, before anything is waited for: so is what `sample` reads first.
    const [completedBefore, openedAt] = [completed, performance.now()];
    measuring = true;
    const opened = await sample();
    await sleep(options.seconds * 1_000, undefined, { signal });
    const [completedWithin, seconds] = [completed - completedBefore, (performance.now() - openedAt) / 1_000];
    measuring = false;
    const closed = await sample();
    placing = false;
    const drained = new AbortController();
    const bound = (options.drainSeconds ?? DRAIN_SECONDS) * 1_000;
    const late = sleep(bound, undefined, { signal: AbortSignal.any([signal, drained.signal]) });
    await Promise.race([customers, late]).finally(() => drained.abort());
    late.catch(() => undefined);
    if (inFlight > 0)
      errors.push(...Array(inFlight).fill(`not ended ${bound / 1_000} s after the window closed`));
    return {
      concurrency,
      perSecond: completedWithin / seconds,
      completed: completedWithin,
      accept: latencyOf(accepts),
      end: latencyOf(ends),
      errors: errors.length,
      firstErrors: [...new Set(errors)].slice(0, ERRORS_NAMED),
      opened,
      closed,
    };
  } finally {
    placing = false;
    signal.throwIfAborted();
  }
}

/** Every key is unique in this process's run, and each run's are its own. */
const run = crypto.randomUUID();
let placed = 0;

/** Requests over `skus` in turn. */
export function orderRequests(skus: readonly string[] = allSkus): () => OrderRequest {
  return () => {
    placed += 1;
    return { key: `${run}-${placed}`, sku: skus[placed % skus.length] as string };
  };
}
