import { leftBehindProblems, workedOff } from "./backlog.ts";
import type { Context } from "./benchmark.ts";
import { runLoad } from "./load.ts";
import { type Level, type Measured, measureLevel } from "./measure.ts";
import { disturbances } from "./quiet.ts";
import { count, number } from "./report.ts";
import { medianOf } from "./stats.ts";
import { skus as allSkus } from "./target.ts";

/** What is measured, under the name that it has in what is told. */
type Named = Measured & { readonly name: string };

/** Code that has not run often is slow, and that is not what is measured. */
const warmup = { concurrency: 16, seconds: 2 } as const;

/** Warms the target up, then measures the levels that the command line asks for, one after the other. */
export async function measureLevels(target: Named, context: Context): Promise<Level[]> {
  const { options } = context;
  await warmUp(target, context);
  const levels: Level[] = [];
  for (const concurrency of options.concurrency) {
    levels.push(await measureOne(target, context, { concurrency }));
  }
  return levels;
}

export async function warmUp(target: Named, { signal }: Context): Promise<void> {
  await runLoad(target.checkout, { ...warmup, sample: () => undefined, signal });
  await workedOff(target, { signal });
}

/** Measures one level, and tells how it came out. */
export async function measureOne(
  target: Named,
  { options, signal, show, tell, home }: Context,
  {
    concurrency,
    skus = allSkus,
    about = "",
  }: { concurrency: number; skus?: readonly string[]; about?: string },
): Promise<Level> {
  const what = `${target.name}: ${count(concurrency)} in flight${about}`;
  show(what);
  const level = await measureLevel(target, {
    concurrency,
    seconds: options.seconds,
    skus,
    signal,
    folder: home,
  });
  const { perSecond, end, errors } = level;
  const failed = errors === 0 ? "" : `, ${count(errors)} errors`;
  tell(
    `${what}: ${number(perSecond)} a second, p50 ${number(end.p50)} ms, p99 ${number(end.p99)} ms${failed}`,
  );
  return level;
}

/**
 * What one level came to in several runs: the medians, but all errors, and the worst of what tells whether it can be relied
 * upon. A run that went wrong is not to vanish among those that went well.
 */
export function medianLevel(runs: readonly [Level, ...Level[]]): Level {
  const all = <T>(of: (level: Level) => T | undefined) => runs.map(of).filter((one) => one !== undefined);
  const worst = (of: (level: Level) => number | undefined) =>
    all(of).length === 0 ? undefined : Math.max(...all(of));
  return {
    ...medianOf(runs),
    errors: runs.reduce((sum, { errors }) => sum + errors, 0),
    firstErrors: [...new Set(runs.flatMap(({ firstErrors }) => firstErrors))],
    foreign: worst(({ foreign }) => foreign),
    probeMs: worst(({ probeMs }) => probeMs) ?? Number.NaN,
    leftBehind: worst(({ leftBehind }) => leftBehind),
    unfinished: worst(({ unfinished }) => unfinished),
  };
}

/** {@linkcode medianLevel} of each level of runs that had the same ones. */
export function medianLevels(runs: readonly [readonly Level[], ...(readonly Level[])[]]): Level[] {
  return runs[0].map((first, i) => {
    const [, ...others] = runs;
    return medianLevel([first, ...others.flatMap((levels) => levels[i] ?? [])]);
  });
}

/** The name of one of several runs of a target, in what is told of it. */
export function runName(name: string, { run, of }: { run: number; of: number }): string {
  return of > 1 ? `${name} (run ${run + 1})` : name;
}

/**
 * A line for each level at which orders failed, work was left behind or something else kept the machine busy.
 * @param runs Every run by itself: medians would hide the one that was disturbed.
 */
export function problemsOf(runs: readonly { name: string; levels: readonly Level[] }[]): string[] {
  const all = runs.flatMap(({ name, levels }) => {
    return levels.map((level) => ({ ...level, what: `${name}, ${count(level.concurrency)} in flight` }));
  });
  const failures = all
    .filter(({ errors }) => errors > 0)
    .map(({ what, errors, firstErrors }) => `${what}: ${count(errors)} errors: ${firstErrors.join("; ")}`);
  return [...failures, ...leftBehindProblems(all), ...disturbances(all)];
}
