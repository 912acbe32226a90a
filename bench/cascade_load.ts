import { setTimeout as sleep } from "node:timers/promises";
import { orAborted } from "../nats/mod.ts";
import type { Accepted, Ending, Side } from "./cascade_side.ts";
import { skus } from "./target.ts";

/** What became of one order. All times are milliseconds from the start of the load. */
export interface Attempt {
  /** When the schedule wanted it sent: what is late at the generator counts as waiting. */
  readonly dueMs: number;
  readonly sentMs: number;
  /** When the customer had an answer, or gave up. */
  readonly answeredMs: number;
  readonly accepted: boolean;
  /** Why it was not accepted. */
  readonly refusal?: string;
  /** Undefined if it did not end. */
  readonly endedMs?: number;
  readonly state?: Ending["state"];
}

export interface OpenLoopOptions {
  /** Orders a second. */
  readonly rate: number;
  readonly seconds: number;
  /** A customer waits for so long. Default 30,000. */
  readonly answerWithinMs?: number;
  /** How long accepted orders may take to end after the last answer. Default 180,000. */
  readonly endWithinMs?: number;
  readonly signal: AbortSignal;
}

const ANSWER_WITHIN_MS = 30_000;
const END_WITHIN_MS = 180_000;

/**
 * Places orders at a fixed rate, however slow the answers are: customers do not come more slowly because others wait.
 * Resolves when all accepted orders have ended, or have had their time.
 *
 * @param onStart Told `performance.now()` of time 0.
 * @throws The signal's reason, if it aborts.
 */
export async function runOpenLoop(
  side: Pick<Side, "place" | "lookAgain">,
  options: OpenLoopOptions,
  onStart: (startedAt: number) => void = () => undefined,
): Promise<Attempt[]> {
  const { signal } = options;
  const startedAt = performance.now();
  onStart(startedAt);
  try {
    const served = await orAborted(Promise.all(await sendAll(side, startedAt, options)), signal);
    const waiting = Promise.all(served.map(({ ended }) => ended));
    const inTime = await isDoneWithin(waiting, { ms: options.endWithinMs ?? END_WITHIN_MS, signal });
    if (!inTime) await side.lookAgain();
    return served.map(({ attempt }) => attempt);
  } finally {
    // A timer that is aborted has an error of its own.
    signal.throwIfAborted();
  }
}

/** Resolves when the last one has been sent. */
async function sendAll(
  side: Pick<Side, "place">,
  startedAt: number,
  { rate, seconds, answerWithinMs = ANSWER_WITHIN_MS, signal }: OpenLoopOptions,
): Promise<Promise<Customer>[]> {
  const customers: Promise<Customer>[] = [];
  for (let i = 0; i < rate * seconds; i++) {
    const dueMs = (i * 1_000) / rate;
    const early = startedAt + dueMs - performance.now();
    if (early > 0) await sleep(early, undefined, { signal });
    customers.push(serve(side, { dueMs, startedAt, answerWithinMs }));
  }
  return customers;
}

interface Customer {
  /** Gets its end when there is one. */
  attempt: Attempt;
  readonly ended: Promise<void>;
}

async function serve(
  side: Pick<Side, "place">,
  { dueMs, startedAt, answerWithinMs }: { dueMs: number; startedAt: number; answerWithinMs: number },
): Promise<Customer> {
  const now = () => performance.now() - startedAt;
  const sentMs = now();
  let accepted: Accepted;
  try {
    accepted = await patiently(side.place(nextOrder()), answerWithinMs);
  } catch (cause) {
    const refusal = cause instanceof Error ? cause.message : String(cause);
    const attempt = { dueMs, sentMs, answeredMs: now(), accepted: false, refusal };
    return { attempt, ended: Promise.resolve() };
  }
  const customer: Customer = {
    attempt: { dueMs, sentMs, answeredMs: now(), accepted: true },
    ended: accepted.ended.then(({ at, state }) => {
      customer.attempt = { ...customer.attempt, endedMs: at - startedAt, state };
    }),
  };
  return customer;
}

/** @throws {Error} If there is no answer in time. */
async function patiently<T>(answer: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1_000} s`)), ms);
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function isDoneWithin(
  work: Promise<unknown>,
  { ms, signal }: { ms: number; signal: AbortSignal },
): Promise<boolean> {
  const over = new AbortController();
  try {
    const late = sleep(ms, false, { signal: AbortSignal.any([signal, over.signal]) });
    return await Promise.race([work.then(() => true), late]);
  } finally {
    over.abort();
  }
}

/** Every key is this process's own. */
const run = crypto.randomUUID();
let placed = 0;

function nextOrder() {
  placed += 1;
  return { key: `${run}-${placed}`, sku: skus[placed % skus.length] as string };
}
