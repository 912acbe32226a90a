import type { Options } from "./benchmark.ts";
import { bestOf, type Missing, medianRun, type TargetRun } from "./checkout.ts";
import { problemsOf, runName } from "./levels.ts";
import { type Level, totalCpuMs } from "./measure.ts";
import { count, named, number, type Result, table } from "./report.ts";
import type { SyncCounts } from "./shop_syncs.ts";
import { skus } from "./target.ts";

/** The ratios that this project sets out to reach, shop to peer. Restate's, whichever way its checkout is laid out. */
const restate = { best: 15, at64: 5, p50At1: 0.5 } as const;
const goals: Readonly<Record<string, { best: number; at64: number; p50At1?: number }>> = {
  restate,
  "restate-saga": restate,
  dbos: { best: 5, at64: 2 },
};
const HOT_GOAL = 0.9;

/** @param all The runs of each target. */
export function checkoutReport(
  all: readonly (readonly TargetRun[])[],
  found: { options: Options; missing: readonly Missing[]; syncs: SyncCounts | undefined },
): Result {
  const { options, missing, syncs } = found;
  const runs = all.flatMap(([first, ...others]) =>
    first === undefined ? [] : [medianRun([first, ...others])],
  );
  const problems = problemsOf(
    all.flatMap((rounds) => {
      return rounds.map(({ name, levels, hot, spread }, run) => {
        return { name: runName(name, { run, of: rounds.length }), levels: [...levels, hot, spread] };
      });
    }),
  );
  return {
    title: "Whole checkouts",
    settings: [
      `Closed loop: each order that ends is followed by the next one; ${options.seconds} s for each level after 2 s of warm-up` +
        (options.repeat > 1 ? `; medians of ${options.repeat} runs, targets in turns.` : "."),
      `Orders are spread over ${skus.length} skus with a million of each. The load generator runs on the same cores.`,
      ...(syncs === undefined ? [] : [syncsSetting(syncs)]),
      ...runs.flatMap(({ name, settings }) => settings.map((setting) => `${name}: ${setting}`)),
    ],
    versions: Object.fromEntries(runs.map(({ name, versions }) => [name, `(${named(versions)})`])),
    body: [
      reading,
      ...runs.flatMap((run) => targetPart(run, run.name === "shop" ? syncs : undefined)),
      ...ratioPart(runs),
      ...hotPart(runs),
    ].join("\n\n"),
    data: { runs, rounds: all, missing, syncs },
    problems: [...missing.map(missed), ...problems],
  };
}

const reading = `An order's time is from its POST until it is completed; *accepted* is until the answer to the POST. CPU,
messages and fsyncs are for each order. *Left behind* is by how many messages that services had yet to handle the window
made them more, for each order completed: about 0 if all that an order gives rise to, its mails included, keeps up with the
orders. It swings by up to one message for each order in flight. Times are milliseconds.`;

function missed({ name, round, reason }: Missing): string {
  if (round === 0) return `${name} was not measured: ${reason}`;
  return `${name} was not measured after run ${round}, whose figures are here: ${reason}`;
}

function targetPart({ name, levels }: TargetRun, syncs: SyncCounts | undefined): string[] {
  const head = [
    "in flight",
    "a second",
    "p50",
    "p99",
    "longest",
    "accepted p50",
    "accepted p99",
    "CPU",
    "generator",
  ];
  const counted = [
    { title: "messages", of: (level: Level) => level.messages },
    { title: "left behind", of: ({ leftBehind }: Level) => leftBehind },
    { title: "fsyncs", of: ({ concurrency }: Level) => syncs?.levels[concurrency]?.perOrder },
    { title: "counted at, a second", of: ({ concurrency }: Level) => syncs?.levels[concurrency]?.perSecond },
  ].filter(({ of }) => levels.some((level) => of(level) !== undefined));
  const rows = levels.map((level) => [
    count(level.concurrency),
    number(level.perSecond),
    ...[level.end.p50, level.end.p99, level.end.max, level.accept.p50, level.accept.p99].map(number),
    number(totalCpuMs(level)),
    number(level.generatorMs),
    ...counted.map(({ of }) => number(of(level))),
  ]);
  const all = table([[...head, ...counted.map(({ title }) => title)], ...rows]);
  return [`### ${name}`, all, ...cpuPart(levels)];
}

function syncsSetting({ missing, seconds }: SyncCounts): string {
  if (missing !== undefined) return `shop: fsyncs were not counted: ${missing}.`;
  return (
    `shop: fsyncs are of nats-server, and writes to files that sync each write; counted by strace in a run of its own, ` +
    `${seconds} s for each level, that no other figure is from, at the speed beside them: a slower run has more of them.`
  );
}

/** CPU by process: one row a process, one column a level. */
function cpuPart(levels: readonly Level[]): string[] {
  const names = Object.keys(levels[0]?.cpuMs ?? {});
  if (names.length === 0) return ["CPU time was not measured: this system has no /proc."];
  const rows = names.map((name) => [name, ...levels.map(({ cpuMs }) => number(cpuMs?.[name]))]);
  return [table([["CPU by process", ...levels.map(({ concurrency }) => count(concurrency))], ...rows])];
}

function ratioPart(runs: readonly TargetRun[]): string[] {
  const shop = runs.find(({ name }) => name === "shop");
  const peers = runs.filter(({ name }) => name !== "shop");
  if (shop === undefined || peers.length === 0) return [];
  const rows = peers.flatMap((peer) => {
    const goal = goals[peer.name];
    const lines = [
      ratio("a second, each at its best", bestOf(shop.levels), bestOf(peer.levels), {
        of: ({ perSecond }) => perSecond,
        goal: goal && `≥ ${goal.best}`,
      }),
      ratio("a second, 64 in flight", at(shop, 64), at(peer, 64), {
        of: ({ perSecond }) => perSecond,
        goal: goal && `≥ ${goal.at64}`,
      }),
      ratio("p50, 1 in flight", at(shop, 1), at(peer, 1), {
        of: ({ end }) => end.p50,
        goal: goal?.p50At1 === undefined ? undefined : `≤ ${goal.p50At1}`,
      }),
    ];
    return lines.flatMap((line) =>
      line === undefined ? [] : [[`${peer.name}: ${line[0]}`, ...line.slice(1)]],
    );
  });
  return ["### Shop to peers", table([["", "shop", "peer", "ratio", "goal"], ...rows])];
}

function at({ levels }: TargetRun, concurrency: number): Level | undefined {
  return levels.find((level) => level.concurrency === concurrency);
}

/** One row: what, the shop's, the peer's, their ratio, its goal. Undefined if one of them was not measured. */
function ratio(
  what: string,
  shop: Level | undefined,
  peer: Level | undefined,
  { of, goal = "" }: { of: (level: Level) => number; goal?: string | undefined },
): string[] | undefined {
  if (shop === undefined || peer === undefined) return undefined;
  const [mine, theirs] = [of(shop), of(peer)];
  return [what, number(mine), number(theirs), number(mine / theirs), goal];
}

function hotPart(runs: readonly TargetRun[]): string[] {
  if (runs.length === 0) return [];
  const rows = runs.map(({ name, hot, spread }) => [
    `${name}, ${count(hot.concurrency)} in flight`,
    number(spread.perSecond),
    number(hot.perSecond),
    number(hot.perSecond / spread.perSecond),
    name === "shop" ? `≥ ${HOT_GOAL}` : "",
  ]);
  const head = ["a second", `${skus.length} skus`, "one sku", "ratio", "goal"];
  return ["### All orders for one sku", table([head, ...rows])];
}
