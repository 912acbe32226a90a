import type { Options } from "./benchmark.ts";
import type { CascadeRun } from "./cascade.ts";
import { cascadeChart } from "./cascade_chart.ts";
import { type Fault, faults } from "./cascade_side.ts";
import { phases } from "./cascade_stats.ts";
import { count, named, number, type Result, table } from "./report.ts";

export const CHART_FILE = "cascade.svg";
/** The generator is late with an order now and then; by this much it does not send what it says. */
const MAX_LATE_MS = 1_000;

export function cascadeReport(runs: readonly CascadeRun[], options: Options): Result {
  const { rate, before, fault, after } = options;
  const each = runs.filter((run, i) => runs.findIndex(({ name }) => name === run.name) === i);
  const chart = cascadeChart(runs);
  return {
    title: "One service is slow, or dead",
    settings: [
      `Open loop: ${rate} orders a second for ${before + fault + after} s, however slow the answers are; ` +
        `after ${before} s inventory is slow, or dead, for ${fault} s. Each run is of a new system, after 3 s of warm-up. ` +
        "Customers wait for 30 s and do not try again. The load generator runs on the same cores.",
      ...each.flatMap(({ name, settings }) => settings.map((setting) => `${name}: ${setting}`)),
    ],
    versions: Object.fromEntries(each.map(({ name, versions }) => [name, `(${named(versions)})`])),
    body: [
      reading,
      ...(chart === undefined ? [] : [`![${chart.title}](${CHART_FILE})`]),
      ...options.faults.flatMap((one) => faultPart(one, runs)),
    ].join("\n\n"),
    data: { runs },
    ...(chart === undefined ? {} : { files: { [CHART_FILE]: chart.svg } }),
    problems: runs.length === 0 ? ["--targets names neither shop nor rest"] : runs.flatMap(problemsOf),
  };
}

const reading = `An order is accepted when the customer is told so: by the shop once it is stored, by the REST chain once it is
shipped. Phases are by when an order was due, and times are from then on. An order is *lost* if it was not accepted, or was
accepted and did not complete. The last rows compare a system's own books when all is over: its stock and payments with its
completed orders.`;

function faultPart(fault: Fault, all: readonly CascadeRun[]): string[] {
  const runs = all.filter((run) => run.fault === fault);
  if (runs.length === 0) return [];
  const row = (what: string, of: (run: CascadeRun) => string) => [what, ...runs.map(of)];
  const seconds = (ms: number | undefined) => {
    if (ms === undefined) return "never";
    return ms === 0 ? "nothing waited" : number(ms / 1_000);
  };
  const rows = [
    row("orders", ({ totals }) => count(totals.orders)),
    ...phases.flatMap((phase) => [
      row(`accepted ${phase}`, (run) => percent(run.phases[phase].accepted, run.phases[phase].orders)),
      row(`accepting ${phase}, p50 ms`, (run) => number(run.phases[phase].accept.p50)),
      row(`accepting ${phase}, p99 ms`, (run) => number(run.phases[phase].accept.p99)),
    ]),
    row("refusing during, p50 ms", (run) => number(run.phases.during.refuse.p50)),
    row("**orders lost**", ({ totals }) => `**${count(totals.orders - totals.completed)}**`),
    row("– refused, or not answered", ({ totals }) => count(totals.refused)),
    row("– accepted and cancelled", ({ totals }) => count(totals.cancelled)),
    row("– accepted and never ended", ({ totals }) => count(totals.unended)),
    row("all that waited had ended, s after the fault", ({ totals }) => seconds(totals.caughtUpMs)),
    row("units reserved for no order", (run) => count(run.discrepancies.unitsForNoOrder)),
    row("units sold that the stock does not know of", (run) => count(run.discrepancies.unitsNotTaken)),
    row("payments taken for no order", (run) => count(run.discrepancies.paymentsForNoOrder)),
  ];
  return [`### ${sentence(faults[fault])}`, table([["", ...runs.map(({ name }) => name)], ...rows])];
}

/** Rounded down: what is not all is never 100%. */
function percent(part: number, whole: number): string {
  return whole === 0 ? "–" : `${Math.floor((part / whole) * 1_000) / 10}%`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

function problemsOf({ name, fault, totals }: CascadeRun): string[] {
  const what = `${name}, ${faults[fault]}`;
  return [
    ...(totals.refusedBefore > 0
      ? [`${what}: ${count(totals.refusedBefore)} orders were refused before the fault`]
      : []),
    ...(totals.latestMs > MAX_LATE_MS
      ? [`${what}: the generator was late by up to ${number(totals.latestMs / 1_000)} s`]
      : []),
  ];
}
