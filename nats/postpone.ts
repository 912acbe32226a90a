import type { Budget } from "./budget.ts";
import type { AnyHandler, Outcome } from "./handler.ts";
import type { Incoming } from "./incoming.ts";
import type { Ledger } from "./ledger.ts";
import type { Task } from "./task.ts";
import type { Waiting } from "./waiting.ts";

/** What became of a message whose handler wants it to wait. */
export type Postponing =
  | { kind: "waiting"; until: Date; reason: string }
  | Extract<Outcome, { kind: "done" | "dead" }>;

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
): Promise<Postponing> {
  const { patience } = handler;
  const { reason, notBeforeMs } = outcome;
  if (waiting === undefined || patience === undefined) {
    throw new TypeError(`Cannot have ${subject} wait: nothing says for how long, or where`);
  }
  const jitter = Math.random();
  return ledger.execute<Postponing>({
    ...work,
    keys: [waiting.key],
    decide(view) {
      const postponed = waiting.postpone(view, delivered, {
        now: now(),
        patience,
        jitter,
        reason,
        notBeforeMs,
        budget,
      });
      switch (postponed.kind) {
        case "wait":
          return {
            messages: postponed.messages,
            result: { kind: "waiting", until: postponed.until, reason },
          };
        case "overtaken":
          return { messages: [], result: { kind: "done", messages: [] } };
        case "given_up":
          return { messages: [], result: { kind: "dead", reason: postponed.reason } };
        default:
          return postponed satisfies never;
      }
    },
  });
}
