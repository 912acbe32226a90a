import type { Benchmark, Context } from "./benchmark.ts";
import { checkoutReport } from "./checkout_report.ts";
import { type Level, measureLevel } from "./measure.ts";
import { number } from "./report.ts";
import { shopSyncs } from "./shop_syncs.ts";
import { medianOf } from "./stats.ts";
import { skus, type Target } from "./target.ts";
import { startTarget } from "./targets.ts";

/** What one target came to. */
export interface TargetRun {
  readonly name: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: readonly string[];
  readonly levels: readonly Level[];
  /** The best level again, all orders for one sku. */
  readonly hot: Level;
  /** The best level again right after it, all skus: two runs minutes apart do not compare. */
  readonly spread: Level;
}

/** What could not be measured, and why. */
export interface Missing {
  readonly name: string;
  readonly reason: string;
}

/** Code that has not run often is slow, and that is not what is measured. */
const warmup = { concurrency: 16, seconds: 2 } as const;

export const checkout: Benchmark = {
  name: "checkout",
  description: "whole checkouts, this shop and its peers, one after the other",
  async run(context) {
    const { options } = context;
    const runs = new Map<string, TargetRun[]>();
    const missing: Missing[] = [];
    for (let round = 0; round < options.repeat; round++) {
      for (const name of rotated(options.targets, round)) {
        if (missing.some((one) => one.name === name)) continue;
        context.show(`${name}: starting`);
        const started = await start(name, context);
        if ("reason" in started) {
          missing.push(started);
          continue;
        }
        await using target = started;
        runs.set(name, [...(runs.get(name) ?? []), await measureTarget(target, context)]);
      }
    }
    const medians = options.targets.flatMap((name) => {
      const [first, ...others] = runs.get(name) ?? [];
      return first === undefined ? [] : [medianOf<TargetRun>([first, ...others])];
    });
    const syncs = medians.some(({ name }) => name === "shop") ? await shopSyncs(context) : undefined;
    return checkoutReport(medians, { options, missing, syncs });
  },
};

/** Whoever goes first has a cool machine and an empty cache: each gets its turn. */
function rotated<T>(values: readonly T[], by: number): T[] {
  const from = by % values.length;
  return [...values.slice(from), ...values.slice(0, from)];
}

/** A peer may lack something that cannot be installed here: the others are measured all the same. */
async function start(name: string, { folder, signal }: Context): Promise<Target | Missing> {
  try {
    return await startTarget(name, { dataDir: folder(name), signal });
  } catch (cause) {
    signal.throwIfAborted();
    if (!(cause instanceof Error)) throw cause;
    return { name, reason: cause.message };
  }
}

async function measureTarget(target: Target, context: Context): Promise<TargetRun> {
  const { options, signal, show } = context;
  const { name, versions, settings } = target;
  const measure = async (concurrency: number, about: string, only: readonly string[] = skus) => {
    show(`${name}: ${about}`);
    const level = await measureLevel(target, { concurrency, seconds: options.seconds, skus: only, signal });
    context.tell(`${name}: ${about}: ${summary(level)}`);
    return level;
  };
  await measureLevel(target, { ...warmup, signal });
  const levels: Level[] = [];
  for (const concurrency of options.concurrency) {
    levels.push(await measure(concurrency, `${concurrency} in flight`));
  }
  const { concurrency } = bestOf(levels);
  const hot = await measure(concurrency, `${concurrency} in flight, one sku`, skus.slice(0, 1));
  const spread = await measure(concurrency, `${concurrency} in flight, ${skus.length} skus again`);
  return { name, versions, settings, levels, hot, spread };
}

/** The level with the most orders a second. */
export function bestOf(levels: readonly Level[]): Level {
  return levels.reduce((best, level) => (level.perSecond > best.perSecond ? level : best));
}

function summary({ perSecond, end, errors }: Level): string {
  const figures = `${number(perSecond)} a second, p50 ${number(end.p50)} ms, p99 ${number(end.p99)} ms`;
  return errors === 0 ? figures : `${figures}, ${errors} errors`;
}
