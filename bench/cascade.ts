import { setTimeout as sleep } from "node:timers/promises";
import type { Benchmark, Context } from "./benchmark.ts";
import { runOpenLoop } from "./cascade_load.ts";
import { cascadeReport } from "./cascade_report.ts";
import { startRestSide } from "./cascade_rest.ts";
import { startShopSide } from "./cascade_shop.ts";
import { type Fault, faults, type Side, SLOW_MS } from "./cascade_side.ts";
import {
  type Discrepancies,
  discrepancies,
  type FaultSpan,
  figuresByPhase,
  type Phase,
  type PhaseFigures,
  type Second,
  secondsOf,
  type Totals,
  totalsOf,
} from "./cascade_stats.ts";
import { count, number } from "./report.ts";
import type { StartOptions } from "./targets.ts";

/** One system through one fault. */
export interface CascadeRun {
  readonly fault: Fault;
  readonly name: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: readonly string[];
  readonly span: FaultSpan;
  readonly phases: Readonly<Record<Phase, PhaseFigures>>;
  readonly totals: Totals;
  readonly discrepancies: Discrepancies;
  readonly seconds: readonly Second[];
}

const sides: Readonly<Record<string, (options: StartOptions) => Promise<Side>>> = {
  shop: startShopSide,
  rest: startRestSide,
};

/** Code that has not run often is slow, and that is not what is measured. */
const WARMUP_SECONDS = 3;

export const cascade: Benchmark = {
  name: "cascade",
  description: "inventory slow, then dead: the shop, and services that call each other",
  async run(context) {
    const { options } = context;
    const names = Object.keys(sides).filter((name) => options.targets.includes(name));
    const runs: CascadeRun[] = [];
    for (const fault of options.faults) {
      for (const name of names) runs.push(await runOne(name, fault, context));
    }
    return cascadeReport(runs, options);
  },
};

/** From an empty folder, so that no run has to do with what the one before it has left. */
async function runOne(name: string, fault: Fault, context: Context): Promise<CascadeRun> {
  const what = `${name}: ${faults[fault]}`;
  context.show(`${what}: starting`);
  const start = sides[name] as (typeof sides)[string];
  await using side = await start({ dataDir: context.folder(name), signal: context.signal });
  const { rate } = context.options;
  await runOpenLoop(side, { rate, seconds: WARMUP_SECONDS, signal: context.signal });
  const before = await side.books();
  context.show(what);
  const { attempts, span } = await loadWithFault(side, fault, context);
  // What inventory had begun when the fault ended takes as long as the fault makes it.
  await sleep(SLOW_MS, undefined, { signal: context.signal });
  const totals = totalsOf(attempts, span);
  const { orders, refused, unended } = totals;
  context.tell(
    `${what}: ${count(orders)} orders, ${count(refused)} refused, ${count(unended)} not ended, ` +
      `caught up after ${number((totals.caughtUpMs ?? Number.NaN) / 1_000)} s`,
  );
  return {
    fault,
    name: side.name,
    versions: side.versions,
    settings: side.settings,
    span,
    phases: figuresByPhase(attempts, span),
    totals,
    discrepancies: discrepancies(before, await side.books()),
    seconds: secondsOf(attempts),
  };
}

async function loadWithFault(side: Side, fault: Fault, { options, signal }: Context) {
  const { rate, before, fault: faultSeconds, after } = options;
  // If the fault cannot be made, nobody waits for the load.
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const started = Promise.withResolvers<number>();
  const load = runOpenLoop(
    side,
    { rate, seconds: before + faultSeconds + after, signal: either },
    started.resolve,
  );
  const inflict = async (): Promise<FaultSpan> => {
    const startedAt = await started.promise;
    const now = () => performance.now() - startedAt;
    const until = (ms: number) => sleep(Math.max(0, ms - now()), undefined, { signal: either });
    await until(before * 1_000);
    const fromMs = now();
    await side.begin(fault);
    await until((before + faultSeconds) * 1_000);
    const toMs = now();
    await side.end(fault);
    return { fromMs, toMs };
  };
  const inflicting = inflict().catch((cause) => {
    failed.abort(cause);
    throw cause;
  });
  const [attempts, span] = await Promise.all([load, inflicting]);
  return { attempts, span };
}
