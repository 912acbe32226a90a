import { Counter, Gauge, type Registry } from "prom-client";
import { type Log, type OpenLetters, olderText, pause, type StoreMemory } from "../../nats/mod.ts";
import { invariants } from "./invariants.ts";
import type { Findings, Reconciler } from "./reconciler.ts";

export interface WatchOptions {
  /** Makes one that has read nothing. */
  newReconciler: () => Reconciler;
  /** What was seen of the ledgers. */
  memory: StoreMemory;
  letters: OpenLetters;
  registry: Registry;
  log: Log;
  /** Pause when everything is read. To look more often costs more than what there is to read. */
  everyMs: number;
  signal: AbortSignal;
}

/** Of the time it works, this many times it waits: comparing takes nothing from the orders that are under way. */
const REST = 3;
const MAX_REST_MS = 1_000;
/** While there is always something new, orders are judged this often. */
const SETTLE_EVERY_MS = 1_000;

/** Reconciles until `signal` aborts, and says what it finds as metrics. What fails is reported and tried again. */
export async function watch(options: WatchOptions): Promise<void> {
  const { newReconciler, memory, letters, log, everyMs, signal } = options;
  const publish = createGauges(options);
  let reconciler = newReconciler();
  let wasOlder = false;
  let settled = performance.now();
  while (!signal.aborted) {
    let restMs = everyMs;
    try {
      const started = performance.now();
      const older = await memory.look();
      if (older.length > 0 && !wasOlder) {
        log.error({ older }, olderText(older));
        // What it has read is not what is there.
        reconciler = newReconciler();
      }
      wasOlder = older.length > 0;
      await reconciler.step();
      if (reconciler.caughtUp || performance.now() > settled + SETTLE_EVERY_MS) {
        await reconciler.settle();
        await letters.update();
        publish(reconciler.findings);
        settled = performance.now();
      }
      if (!reconciler.caughtUp) restMs = Math.min(MAX_REST_MS, REST * (performance.now() - started));
    } catch (cause) {
      if (!signal.aborted) log.warn({ err: cause }, "cannot compare the ledgers, trying again");
    }
    await pause(restMs, signal);
  }
}

function createGauges({ memory, letters, registry }: WatchOptions): (findings: Findings) => void {
  const registers = [registry];
  const violations = new Gauge({
    name: "shop_reconciler_violations",
    help: "Invariants that the ledgers violate now; zero is the only good value",
    labelNames: ["invariant"],
    registers,
  });
  const checked = new Counter({
    name: "shop_reconciler_orders_checked_total",
    help: "Orders that were compared across the ledgers, each time that they had become quiet",
    registers,
  });
  const open = new Gauge({
    name: "shop_reconciler_open_orders",
    help: "Orders that have not ended, or not for long enough to be judged",
    registers,
  });
  const lastRun = new Gauge({
    name: "shop_reconciler_last_run_timestamp_seconds",
    help: "When the ledgers were last compared",
    registers,
  });
  const comparedUpTo = new Gauge({
    name: "shop_reconciler_compared_up_to_timestamp_seconds",
    help: "Everything that was stored before this moment was compared",
    registers,
  });
  const parked = new Gauge({
    name: "shop_dead_letters",
    help: "Dead letters that somebody has to look at, by the service that parked them",
    labelNames: ["parked_by"],
    registers,
  });
  const older = new Gauge({
    name: "shop_store_older_streams",
    help: "Streams that are older than what was seen of them: restored from a backup, and not accepted yet",
    registers,
  });
  for (const invariant of invariants) violations.set({ invariant }, 0);
  let counted = 0;
  return (findings) => {
    older.set(memory.older.length);
    for (const invariant of invariants) {
      const found = findings.violations.filter((violation) => violation.invariant === invariant);
      violations.set({ invariant }, found.length);
    }
    // One that has begun again counts from 0.
    checked.inc(findings.checked - (findings.checked < counted ? 0 : counted));
    counted = findings.checked;
    open.set(findings.open);
    comparedUpTo.set(findings.comparedUpTo / 1_000);
    lastRun.set(Date.now() / 1_000);
    for (const [service, count] of letters.parkedBy) parked.set({ parked_by: service }, count);
  };
}
