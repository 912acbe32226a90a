import type { CascadeRun } from "./cascade.ts";
import { type Fault, faultNames, faults } from "./cascade_side.ts";
import type { Second } from "./cascade_stats.ts";
import { type Panel, type Point, renderChart } from "./chart.ts";
import { count } from "./report.ts";

const title = "Orders while inventory is slow, or dead";

/** One column for each fault, and in it one line for each system. Undefined if there was no run. */
export function cascadeChart(runs: readonly CascadeRun[]): { title: string; svg: string } | undefined {
  if (runs.length === 0) return undefined;
  const columns = faultNames.filter((fault) => runs.some((run) => run.fault === fault));
  const names = [...new Set(runs.map(({ name }) => name))];
  const lines: Line[] = [
    {
      yLabel: "orders accepted, per second",
      scale: "linear",
      of: ({ accepted }) => accepted,
      at: 0.5,
      underLoad: true,
    },
    {
      yLabel: "time to the answer, p99 of each second, ms",
      scale: "log",
      of: ({ acceptP99 }) => acceptP99,
      crosses: ({ refuseP99 }) => refuseP99,
      at: 0.5,
      underLoad: true,
    },
    {
      yLabel: "orders accepted and not yet ended",
      scale: "linear",
      of: ({ open }) => open,
      at: 1,
      underLoad: false,
    },
  ];
  const panel = (line: Line, fault: Fault): Panel => {
    const own = names.flatMap((name) => runs.filter((run) => run.fault === fault && run.name === name));
    const span = own[0]?.span ?? { fromMs: 0, toMs: 0 };
    return {
      yLabel: line.yLabel,
      scale: line.scale,
      shade: { from: span.fromMs / 1_000, to: span.toMs / 1_000 },
      series: names.map((name) => seriesOf(line, { name, run: own.find((run) => run.name === name) })),
    };
  };
  const svg = renderChart({
    title,
    description: runs.map(describe).join(" "),
    columns: columns.map((fault) => faults[fault]),
    rows: lines.map((line) => columns.map((fault) => panel(line, fault))),
    xLabel: "seconds of the run",
    xTo: runs.reduce((most, { seconds }) => Math.max(most, seconds.length), 1),
    names: names.map((name) => systems[name] ?? name),
    crossLabel: "refused, and after how long",
    shadeLabel: "fault",
  });
  return { title, svg };
}

const systems: Readonly<Record<string, string>> = {
  shop: "this shop",
  rest: "services that call each other (REST)",
};

interface Line {
  readonly yLabel: string;
  readonly scale: Panel["scale"];
  readonly of: (second: Second) => number | undefined;
  readonly crosses?: (second: Second) => number | undefined;
  /** Where in its second the value is drawn: what is counted over it in its middle. */
  readonly at: number;
  /** Whether there is nothing to tell of the seconds after the last order. */
  readonly underLoad: boolean;
}

function seriesOf(line: Line, { name, run }: { name: string; run: CascadeRun | undefined }) {
  const seconds = run === undefined ? [] : line.underLoad ? loaded(run) : run.seconds;
  const points = (of: (second: Second) => number | undefined): Point[] =>
    seconds.map((second) => ({ x: second.second + line.at, y: of(second) }));
  return { name, line: points(line.of), crosses: line.crosses ? points(line.crosses) : [] };
}

function loaded({ seconds }: CascadeRun): readonly Second[] {
  const last = seconds.findLastIndex(({ acceptP99, refuseP99 }) => (acceptP99 ?? refuseP99) !== undefined);
  return seconds.slice(0, last + 1);
}

function describe({ name, fault, phases: { during }, totals }: CascadeRun): string {
  const { orders, completed } = totals;
  return (
    `${systems[name] ?? name}, ${faults[fault]}: ${count(during.accepted)} of ${count(during.orders)} orders accepted ` +
    `meanwhile, ${count(orders - completed)} of all ${count(orders)} lost.`
  );
}
