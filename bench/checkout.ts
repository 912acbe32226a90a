import type { Benchmark, Context } from "./benchmark.ts";
import { checkoutReport } from "./checkout_report.ts";
import { measureLevels, measureOne, medianLevel, medianLevels } from "./levels.ts";
import type { Level } from "./measure.ts";
import { shopSyncs } from "./shop_syncs.ts";
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
  /** From 0. */
  readonly round: number;
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
        const before = runs.get(name) ?? [];
        const found = await measureTarget(name, context, before[0]);
        if (typeof found === "string") missing.push({ name, round, reason: found });
        else runs.set(name, [...before, found]);
      }
    }
    const all = options.targets.map((name) => runs.get(name) ?? []);
    const syncs = runs.has("shop") ? await shopSyncs(context) : undefined;
    return checkoutReport(all, { options, missing, syncs });
  },
};

/** Whoever goes first has a cool machine and an empty cache: each gets its turn. */
function rotated<T>(values: readonly T[], by: number): T[] {
  const from = by % values.length;
  return [...values.slice(from), ...values.slice(0, from)];
}

/**
 * A peer may lack something that cannot be installed here, or fail: the others are measured all the same.
 * @param first What the first round came to.
 * @returns Why it could not be measured, if it could not.
 */
async function measureTarget(name: string, context: Context, first?: TargetRun): Promise<TargetRun | string> {
  const { folder, signal, show, tell } = context;
  show(`${name}: starting`);
  try {
    await using target = await startTarget(name, { dataDir: folder(name), signal });
    return await measureRun(target, context, first);
  } catch (cause) {
    signal.throwIfAborted();
    if (!(cause instanceof Error)) throw cause;
    tell(`${name}: cannot be measured: ${cause.message}`);
    return cause.message;
  }
}

async function measureRun(target: Target, context: Context, first?: TargetRun): Promise<TargetRun> {
  const { name, versions, settings } = target;
  const levels = await measureLevels(target, context);
  // In every round the same, so that there is a median of it.
  const { concurrency } = first?.hot ?? bestOf(levels);
  const one = { concurrency, skus: skus.slice(0, 1), about: ", one sku" };
  const hot = await measureOne(target, context, one);
  const spread = await measureOne(target, context, { concurrency, about: `, ${skus.length} skus again` });
  return { name, versions, settings, levels, hot, spread };
}

/** What several runs of a target came to. */
export function medianRun(runs: readonly [TargetRun, ...TargetRun[]]): TargetRun {
  const [first, ...others] = runs;
  return {
    ...first,
    levels: medianLevels([first.levels, ...others.map(({ levels }) => levels)]),
    hot: medianLevel([first.hot, ...others.map(({ hot }) => hot)]),
    spread: medianLevel([first.spread, ...others.map(({ spread }) => spread)]),
  };
}

/** The level with the most orders a second. */
export function bestOf(levels: readonly Level[]): Level {
  return levels.reduce((best, level) => (level.perSecond > best.perSecond ? level : best));
}
