import { setTimeout as sleep } from "node:timers/promises";

/** Waits, and no longer than until `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (cause) {
    if (!signal.aborted) throw cause;
  }
}

/**
 * What `work` comes to, unless `signal` aborts first: what it comes to after that is nobody's concern.
 * @throws The signal's reason, if it aborts first.
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Longest wait between two deliveries of a message that cannot be handled right now. */
const MAX_BACKOFF_MS = 10_000;

/**
 * Doubles with each failure up to a cap, with jitter, so that many who failed together do not come back together.
 * @param options.firstMs Before the first doubling. Default 100.
 * @param options.maxMs Default 10,000.
 */
export function backoffMs(failures: number, options: { firstMs?: number; maxMs?: number } = {}): number {
  const { firstMs = 100, maxMs = MAX_BACKOFF_MS } = options;
  const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(failures, 16));
  return Math.round(ceiling * (0.5 + Math.random() / 2));
}
