import { setInterval } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Logger } from "pino";
import {
  checkoutState,
  checkoutTimer,
  decode,
  key,
  type Ledger,
  MAX_PAGE,
  newTrace,
  splitSubject,
  viewStored,
} from "../../nats/mod.ts";
import type { Deadlines } from "./decide.ts";
import { checkoutOf, expire } from "./handlers.ts";

export interface SweepOptions {
  jsm: JetStreamManager;
  ledger: Ledger;
  log: Pick<Logger, "warn" | "error">;
  deadlines: Deadlines;
  signal: AbortSignal;
  /** Resolves when the answers that wait to be read have been handled: they come before a deadline. Default: at once. */
  caughtUp?: (signal: AbortSignal) => Promise<void>;
}

/** A timer that is this late did not fire, or its message is not getting through. */
const GRACE_MS = 5_000;

/**
 * Sweeps every `everyMs` until `signal` aborts, and then resolves at once, whatever the server is at. A sweep that fails
 * is reported and the next one tries again.
 */
export async function sweepRegularly(options: SweepOptions & { everyMs: number }): Promise<void> {
  const { everyMs, signal, log } = options;
  const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => abort());
  try {
    for await (const _ of setInterval(everyMs, undefined, { signal })) {
      const swept = sweep(options, new Date()).then(
        (found) => {
          if (found > 0) log.warn({ overdue: found }, "the sweep found checkouts past their deadline");
        },
        (cause) => {
          if (!signal.aborted) log.error({ err: cause }, "cannot sweep, trying again");
        },
      );
      await Promise.race([swept, aborted]);
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
  }
}

/**
 * Moves every checkout on that is past its deadline, without relying on a timer to fire. Every live checkout has its
 * schedule message in the ledger, stored in one batch with its state: those are the list of what is live, so that a
 * sweep costs by the live checkouts and not by the history. The decision itself is made on the state. A checkout that
 * cannot be moved on is reported and holds up no other.
 *
 * @returns How many checkouts were overdue.
 * @throws {Error} If the server does not answer.
 */
export async function sweep(options: SweepOptions, now: Date): Promise<number> {
  const { jsm, ledger, signal, caughtUp } = options;
  let overdue = 0;
  for (let from = 1; !signal.aborted; ) {
    const subject = `${checkoutTimer.subject}.>`;
    const page = await viewStored(jsm, ledger.stream, { subject, from, limit: MAX_PAGE });
    const last = page.at(-1);
    if (last === undefined) break;
    const late = page.filter(({ data }) => isLate(data, now)).map((timer) => splitSubject(timer.subject).id);
    if (late.length > 0) await caughtUp?.(signal);
    // Together, so that they share commits.
    const moved = await Promise.all(late.map((orderId) => moveOn(orderId, options, now)));
    overdue += moved.filter(Boolean).length;
    from = last.seq + 1;
  }
  return overdue;
}

/** A timer that cannot be read does not say when: its state does. */
function isLate(timer: Uint8Array, now: Date): boolean {
  try {
    const { deadline } = decode(checkoutTimer, timer);
    return deadline !== undefined && timestampMs(deadline) + GRACE_MS <= now.getTime();
  } catch {
    return true;
  }
}

async function moveOn(
  orderId: string,
  { ledger, deadlines, signal, log }: SweepOptions,
  now: Date,
): Promise<boolean> {
  const task = {
    keys: [key(checkoutState, orderId)],
    trace: newTrace(),
    decide(view: Parameters<typeof checkoutOf>[0]) {
      const messages = expire(checkoutOf(view, orderId), now, deadlines);
      return { messages, result: messages.length > 0 };
    },
  };
  try {
    return await ledger.execute(task, { signal });
  } catch (cause) {
    if (!signal.aborted) log.error({ err: cause, order_id: orderId }, "cannot move an overdue checkout on");
    return false;
  }
}
