import type { Budget } from "./budget.ts";
import type { AnyHandler, Outcome } from "./handler.ts";
import type { Incoming } from "./incoming.ts";
import type { Ledger } from "./ledger.ts";
import type { Task } from "./task.ts";
import type { Postponed, Waiting } from "./waiting.ts";

export interface PostponeOptions {
  outcome: Extract<Outcome, { kind: "wait" }>;
  /** Undefined where the service has nowhere to store it. */
  waiting: Waiting | undefined;
  /** What the messages of the commit say of their cause. */
  work: Pick<Task<unknown>, "trace" | "cause">;
  now: () => Date;
  /** Of the handler's patience. */
  budget: Budget | undefined;
}

/**
 * Stores that a message waits, in the service's ledger.
 *
 * @returns `done` if another delivery of it has seen to that, `dead` if it has waited for too long.
 * @throws {TypeError} If its handler has no patience, or its service nowhere to store it.
 */
export async function postpone(
  ledger: Ledger,
  { subject, delivered }: Incoming,
  handler: AnyHandler,
  { outcome, waiting, work, now, budget }: PostponeOptions,
): Promise<Postponed> {
  const { patience } = handler;
  const { reason, notBeforeMs } = outcome;
  if (waiting === undefined || patience === undefined) {
    throw new TypeError(`Cannot have ${subject} wait: nothing says for how long, or where`);
  }
  const told = { patience, jitter: Math.random(), reason, notBeforeMs, budget };
  return ledger.execute({
    ...work,
    keys: [waiting.key],
    decide: (view) => waiting.postpone(view, delivered, { ...told, now: now() }),
  });
}
