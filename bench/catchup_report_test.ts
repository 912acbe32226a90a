import { expect, test } from "vitest";
import type { Options } from "./benchmark.ts";
import type { CatchUpRun, Span } from "./catchup.ts";
import { catchUpReport } from "./catchup_report.ts";

const options = {
  databases: ["pglite", "postgres"],
  events: 40_000,
  steady: 25,
  seconds: 10,
  repeat: 1,
} as unknown as Options;

function span(p50: number, foreign = 0.02): Span {
  return {
    seconds: 10,
    latency: { p50, p99: p50 * 2, max: p50 * 3 },
    cpuMs: { analytics: 1_000 },
    foreign,
    probeMs: 1,
  };
}

const run: CatchUpRun = {
  database: "pglite",
  versions: {},
  events: 40_000,
  readySeconds: 1,
  seconds: 4,
  without: span(10),
  during: span(12),
  afterwards: span(10),
  errors: [],
  books: [{ what: "orders", inLedgers: 3_000, inAnalytics: 3_000 }],
};

function row(body: string, name: string): string[] {
  const line = body.split("\n").find((one) => one.includes(name)) ?? "";
  return line
    .split("|")
    .map((cell) => cell.trim())
    .slice(2, -1);
}

test("catchUpReport() sets orders while the analytics catch up beside orders without them", () => {
  const slower = { ...run, database: "postgres" as const, seconds: 8, during: span(20) };
  const { body, problems } = catchUpReport([run, slower], options);
  expect(problems).toEqual([]);
  expect(row(body, "**caught up after, s**")).toEqual(["4.00", "8.00", "4"]);
  expect(row(body, "events a second")).toEqual(["10,000", "5,000", ""]);
  expect(row(body, "s: analytics")).toEqual(["1.00", "1.00", ""]);
  expect(row(body, "**while they catch up, to without, p50**")).toEqual(["1.20", "2.00", "1.5"]);
});

test("catchUpReport() takes the median of several runs with one database", () => {
  const runs = [3, 9, 4].map((seconds) => ({ ...run, seconds }));
  const { body } = catchUpReport(runs, { ...options, databases: ["pglite"], repeat: 3 });
  expect(row(body, "**caught up after, s**")).toEqual(["4.00", "4"]);
});

test("catchUpReport() names each run that cannot be relied upon, and why", () => {
  const problems = (change: Partial<CatchUpRun>) =>
    catchUpReport([run, { ...run, ...change }], { ...options, databases: ["pglite"], repeat: 2 }).problems;
  expect(problems({ seconds: undefined })).toEqual(["pglite (run 2): has not caught up"]);
  expect(problems({ errors: ["503", "503", "late"] })).toEqual([
    "pglite (run 2): 3 orders did not complete: 503; late",
  ]);
  expect(problems({ books: [{ what: "payments", inLedgers: 3_000, inAnalytics: 3_001 }] })).toEqual([
    "pglite (run 2): the analytics have 3,001 payments, the ledgers 3,000",
  ]);
  expect(problems({ during: span(12, 0.5) })).toEqual([
    "pglite (run 2), while they catch up: 50% of the CPU went to other programs",
  ]);
});
