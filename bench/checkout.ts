import type { Benchmark, Context } from "./benchmark.ts";
import { checkoutReport } from "./checkout_report.ts";
import { measureLevels, measureOne } from "./levels.ts";
import type { Level } from "./measure.ts";
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
        const before = runs.get(name) ?? [];
        runs.set(name, [...before, await measureTarget(target, context, before[0])]);
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

/** @param first What the first round came to. */
async function measureTarget(target: Target, context: Context, first?: TargetRun): Promise<TargetRun> {
  const { name, versions, settings } = target;
  const levels = await measureLevels(target, context);
  // In every round the same, so that there is a median of it.
  const { concurrency } = first?.hot ?? bestOf(levels);
  const one = { concurrency, skus: skus.slice(0, 1), about: ", one sku" };
  const hot = await measureOne(target, context, one);
  const spread = await measureOne(target, context, { concurrency, about: `, ${skus.length} skus again` });
  return { name, versions, settings, levels, hot, spread };
}

/** The level with the most orders a second. */
export function bestOf(levels: readonly Level[]): Level {
  return levels.reduce((best, level) => (level.perSecond > best.perSecond ? level : best));
}
