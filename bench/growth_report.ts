import type { Options } from "./benchmark.ts";
import type { Stage } from "./growth.ts";
import { CATCH_UP_MS } from "./growth_monitor.ts";
import { problemsOf } from "./levels.ts";
import { type Level, totalCpuMs } from "./measure.ts";
import { count, number, type Result, table } from "./report.ts";
import { withoutAnalyticsSetting } from "./shop_services.ts";

/** Per-order cost with the longest history to that with the shortest. */
const GOAL = 1.2;
const MEGABYTE = 2 ** 20;
const GIGABYTE = 1e9;

/** @param runs.again The first of the stages, measured again in a shop of its own at the end. */
export function growthReport(
  { stages, again }: { stages: readonly Stage[]; again: Stage },
  { seconds }: Options,
): Result {
  const all = [...stages, again];
  const heads = [...stages.map(({ orders }) => count(orders)), `${count(again.orders)} again`];
  const ranges = [...stages.map(rangeOf), `${rangeOf(again)} again`];
  return {
    title: "Growth",
    settings: [
      "The shop as `npm start` runs it, one and the same with all histories, and a new one at the end for the first again.",
      withoutAnalyticsSetting,
      `Closed loop, ${seconds} s for each level after 2 s of warm-up. The load generator runs on the same cores.`,
      "The history: orders that were placed and completed for real, one for each of 100 skus, copied with ids of their own, " +
        "with every message and timer that they had, into all ledgers at once; consumers are put behind it.",
      `The monitor is watched for ${CATCH_UP_MS / 1_000} s at most and stopped before the levels: it reads the history when it starts, ` +
        "and takes no part in an order.",
    ],
    versions: {},
    body: [
      reading,
      ratioTable(all),
      levelTable(all, ranges),
      "### nats-server",
      serverTable(all, heads),
      "### Services",
      servicesText,
      serviceTable(all, heads),
      "### The monitor comparing the history",
      monitorTable(all, heads),
    ].join("\n\n"),
    data: { stages, again },
    problems: [
      ...problemsOf(all.map(({ levels }, i) => ({ name: `${heads[i]} orders`, levels }))),
      ...all.flatMap(({ catchUp }, i) => [
        ...(catchUp.violations > 0
          ? [`${heads[i]} orders: ${catchUp.violations} invariants are violated`]
          : []),
      ]),
    ],
  };
}

/** What an order costs at one level with the longest history, to what it costs with the shortest. */
export interface Ratio {
  readonly concurrency: number;
  readonly cpu: number;
  /** Of seconds per order. */
  readonly time: number;
  /** The cost with the shortest history, measured again at the end, to the first time. */
  readonly cpuAgain: number;
  readonly timeAgain: number;
}

/** @param levels Of the shortest history, the longest, and the shortest again, in which concurrencies are the same. */
export function ratiosOf({
  first,
  last,
  again,
}: Record<"first" | "last" | "again", readonly Level[]>): Ratio[] {
  return first.flatMap((level, i) => {
    const [long, repeated] = [last[i], again[i]];
    if (long === undefined || repeated === undefined) return [];
    const cpu = (one: Level) => totalCpuMs(one) ?? Number.NaN;
    // The machine is not as fast in one hour as in the next: between the two is what it would have been.
    const base = {
      cpu: mean(cpu(level), cpu(repeated)),
      perSecond: mean(level.perSecond, repeated.perSecond),
    };
    return {
      concurrency: level.concurrency,
      cpu: cpu(long) / base.cpu,
      time: base.perSecond / long.perSecond,
      cpuAgain: cpu(repeated) / cpu(level),
      timeAgain: level.perSecond / repeated.perSecond,
    };
  });
}

function mean(a: number, b: number): number {
  return (a + b) / 2;
}

function ratioTable(all: readonly Stage[]): string {
  const [first, last, again] = [all[0], all.at(-2), all.at(-1)].map((stage) => stage?.levels ?? []);
  const ratios = ratiosOf({ first: first ?? [], last: last ?? [], again: again ?? [] });
  const head = ["in flight", "CPU per order", "time per order", "goal", "CPU again", "time again"];
  const rows = ratios.map(({ concurrency, cpu, time, cpuAgain, timeAgain }) => [
    count(concurrency),
    ...[cpu, time].map(number),
    `≤ ${GOAL}`,
    ...[cpuAgain, timeAgain].map(number),
  ]);
  return table([head, ...rows]);
}

function levelTable(all: readonly Stage[], heads: readonly string[]): string {
  const head = ["orders, in flight", "a second", "p50", "p99", "CPU", "of nats-server", "messages"];
  const concurrencies = all[0]?.levels.map(({ concurrency }) => concurrency) ?? [];
  const rows = concurrencies.flatMap((concurrency) =>
    all.map(({ levels }, i) => {
      const level = levels.find((one) => one.concurrency === concurrency);
      return [
        `${heads[i]}, ${count(concurrency)}`,
        number(level?.perSecond),
        number(level?.end.p50),
        number(level?.end.p99),
        number(level && totalCpuMs(level)),
        number(level?.cpuMs?.["nats-server"]),
        number(level?.messages),
      ];
    }),
  );
  return table([head, ...rows]);
}

function serverTable(all: readonly Stage[], heads: readonly string[]): string {
  return table([
    ["", ...heads],
    ["orders when the levels were measured, up to", ...all.map(({ ordersAfter }) => count(ordersAfter))],
    ["messages", ...all.map(({ messages }) => count(messages))],
    ["on the disk, GB", ...all.map(({ bytes }) => number(bytes / GIGABYTE))],
    ["stops in, s", ...all.map(({ server }) => number(server.stopMs / 1_000))],
    ["starts in, s", ...all.map(({ server }) => number(server.orderly.ms / 1_000))],
    ["is back after SIGKILL in, s", ...all.map(({ server }) => number(server.killed.ms / 1_000))],
    ["memory after the start, MB", ...all.map(({ server }) => megabytes(server.orderly.rss))],
    ["memory after SIGKILL and start, MB", ...all.map(({ server }) => megabytes(server.killed.rss))],
    ["memory after the load, MB", ...all.map(({ serverRssAfter }) => megabytes(serverRssAfter))],
    ["`GET /orders/{id}`, ms", ...all.map(({ reads }) => number(reads.order))],
    ["`GET /orders?state=completed`, ms", ...all.map(({ reads }) => number(reads.finished))],
    ["`GET /orders?state=fulfilling`, ms", ...all.map(({ reads }) => number(reads.live))],
  ]);
}

function serviceTable(all: readonly Stage[], heads: readonly string[]): string {
  const names = Object.keys(all[0]?.services ?? {});
  const cell = ({ services }: Stage, name: string) =>
    `${number(services[name]?.ms)} · ${megabytes(services[name]?.rss ?? Number.NaN)}`;
  return table([["", ...heads], ...names.map((name) => [name, ...all.map((stage) => cell(stage, name))])]);
}

function monitorTable(all: readonly Stage[], heads: readonly string[]): string {
  const row = (name: string, of: (stage: Stage) => string) => [name, ...all.map(of)];
  return table([
    ["", ...heads],
    row("has caught up after, s", ({ catchUp }) =>
      catchUp.seconds === undefined ? `> ${CATCH_UP_MS / 1_000}` : number(catchUp.seconds),
    ),
    row("CPU of the monitor, s", ({ catchUp }) => number(catchUp.cpuMs && catchUp.cpuMs / 1_000)),
    row("CPU of nats-server meanwhile, s", ({ catchUp }) =>
      number(catchUp.serverCpuMs && catchUp.serverCpuMs / 1_000),
    ),
    row("memory at most, MB", ({ catchUp }) => megabytes(catchUp.rssMax)),
    row("memory at its end, MB", ({ catchUp }) => megabytes(catchUp.rssAfter)),
  ]);
}

function megabytes(bytes: number): string {
  return number(bytes / MEGABYTE);
}

/** The history grows while it is measured. */
function rangeOf({ orders, ordersAfter }: Stage): string {
  return orders === ordersAfter ? count(orders) : `${count(orders)}–${count(ordersAfter)}`;
}

const reading = `Whole checkouts in a shop that keeps so many finished orders. The ratios are of the longest history to the shortest,
which is measured first and, in a new shop, again at the end, and stands for the mean of both; *again* is the second to the
first of these, and what there is of it is not the history's doing. Times are milliseconds, *CPU* is of all processes for
each order. The levels themselves add orders: a range is from before them to after them.`;

const servicesText =
  "Each by itself: milliseconds until it is ready · megabytes that it has in memory then, medians of three.";
