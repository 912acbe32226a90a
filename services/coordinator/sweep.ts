import { setInterval } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Logger } from "pino";
import { checkoutState, checkoutTimer, key, type Ledger, newTrace, viewAll } from "../../nats/mod.ts";
import type { Deadlines } from "./decide.ts";
import { checkoutOf, expire } from "./handlers.ts";

export interface SweepOptions {
  jsm: JetStreamManager;
  ledger: Ledger;
  log: Logger;
  deadlines: Deadlines;
  everyMs: number;
  signal: AbortSignal;
}

/** A timer that is this late did not fire, or its message is not getting through. */
const GRACE_MS = 5_000;

/** Sweeps every `everyMs` until `signal` aborts. A sweep that fails is reported and the next one tries again. */
export async function sweepRegularly(options: SweepOptions): Promise<void> {
  const { everyMs, signal, log } = options;
  try {
    for await (const _ of setInterval(everyMs, undefined, { signal })) {
      try {
        const found = await sweep(options, new Date());
        if (found > 0) log.warn({ overdue: found }, "the sweep found checkouts past their deadline");
      } catch (cause) {
        if (!signal.aborted) log.error({ err: cause }, "cannot sweep, trying again");
      }
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
  }
}

/**
 * Moves every checkout on that is past its deadline, without relying on a timer to fire. Every live checkout has its
 * schedule message in the ledger, stored in one batch with its state: those are the list of what is live, so that a
 * sweep costs by the live checkouts and not by the history. The decision itself is made on the state.
 *
 * @returns How many checkouts were overdue.
 */
export async function sweep({ jsm, ledger, deadlines }: SweepOptions, now: Date): Promise<number> {
  let overdue = 0;
  for await (const { id, value } of viewAll(jsm, ledger.stream, checkoutTimer)) {
    if (value.deadline === undefined || timestampMs(value.deadline) + GRACE_MS > now.getTime()) continue;
    overdue += await ledger.execute({
      keys: [key(checkoutState, id)],
      trace: newTrace(),
      decide(view) {
        const messages = expire(checkoutOf(view, id), now, deadlines);
        return { messages, result: messages.length > 0 ? 1 : 0 };
      },
    });
  }
  return overdue;
}
