import { expect, test } from "vitest";
import { medianLevel, medianLevels, problemsOf, runName } from "./levels.ts";
import type { Level } from "./measure.ts";

const latency = { p50: 1, p99: 2, max: 3 };
const quiet: Level = {
  concurrency: 16,
  perSecond: 100,
  completed: 1_000,
  accept: latency,
  end: latency,
  errors: 0,
  firstErrors: [],
  generatorMs: 1,
  foreign: 0.01,
  probeMs: 1,
};

test("medianLevel() takes medians of what is measured, and the worst of what says how far to rely on it", () => {
  const level = medianLevel([
    { ...quiet, perSecond: 100, errors: 3, firstErrors: ["refused"], leftBehind: -0.01 },
    { ...quiet, perSecond: 120, foreign: 0.5, probeMs: 9 },
    { ...quiet, perSecond: 90, errors: 2, firstErrors: ["refused", "late"], unfinished: 4 },
  ]);
  expect(level).toMatchObject({ perSecond: 100, errors: 5, firstErrors: ["refused", "late"] });
  expect(level).toMatchObject({ foreign: 0.5, probeMs: 9, leftBehind: -0.01, unfinished: 4 });
});

test("medianLevel() makes up nothing that no run has", () => {
  expect(medianLevel([quiet, quiet]).leftBehind).toBeUndefined();
});

test("medianLevels() goes level by level", () => {
  const runs = [10, 30, 20].map((perSecond) => [
    { ...quiet, perSecond },
    { ...quiet, perSecond: perSecond * 2 },
  ]) as [Level[], ...Level[][]];
  expect(medianLevels(runs).map(({ perSecond }) => perSecond)).toEqual([20, 40]);
});

test("problemsOf() tells each disturbance of each run", () => {
  const levels: Level[] = [
    quiet,
    { ...quiet, errors: 1_000, firstErrors: ["refused"] },
    { ...quiet, foreign: 0.5 },
    { ...quiet, leftBehind: 2 },
  ];
  const problems = problemsOf(
    levels.map((level, run) => ({ name: runName("shop", { run, of: 4 }), levels: [level] })),
  );
  expect(problems.map((line) => line.slice(0, line.indexOf(":")))).toEqual(
    [2, 4, 3].map((run) => `shop (run ${run}), 16 in flight`),
  );
});

test("runName() is the target's own name if there is one run", () => {
  expect(runName("shop", { run: 0, of: 1 })).toBe("shop");
});
