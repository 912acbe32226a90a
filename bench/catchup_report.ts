import { natsServerName } from "../tools/processes.ts";
import type { Options } from "./benchmark.ts";
import type { CatchUpRun, Span } from "./catchup.ts";
import { type Database, databases } from "./catchup_shop.ts";
import { nodeFlagsSetting } from "./node_flags.ts";
import { disturbances } from "./quiet.ts";
import { count, named, number, type Result, table } from "./report.ts";
import { natsServerSetting } from "./shop.ts";
import { ANALYTICS } from "./shop_services.ts";
import { type Latency, median } from "./stats.ts";

const GOAL_SECONDS = 4;
/** Of an order's latency meanwhile to that without the analytics. */
const GOAL_RATIO = 1.5;

export function catchUpReport(runs: readonly CatchUpRun[], options: Options): Result {
  const columns = options.databases.map((database) => columnOf(database, runs));
  return {
    title: "Catching up",
    settings: [
      `All services as \`npm start\` runs them, the analytics stopped by SIGTERM until they had missed ${count(options.events)} ` +
        "events: of real orders, placed as fast as the shop takes them; then the shop came to rest.",
      `Open loop: ${options.steady} orders a second from then on, for ${options.seconds} s before the analytics were started and after ` +
        "they had caught up. The load generator, and what asks for the lag every 50 ms, run on the same cores.",
      "PostgreSQL is as `initdb` sets it up, with the collation `C`: each transaction is synced to the disk. PGlite runs within the service, and does not sync.",
      natsServerSetting,
      nodeFlagsSetting("Every service runs"),
      options.repeat > 1 ? `Medians of ${options.repeat} runs, each in a new shop.` : "One run of each.",
    ],
    versions: Object.fromEntries(columns.map(({ database, versions }) => [database, `(${named(versions)})`])),
    body: [reading, timeTable(columns), "### What the rest of the shop notices", latencyTable(columns)].join(
      "\n\n",
    ),
    data: { runs },
    problems: problemsOf(runs),
  };
}

/** What the runs with one database came to: medians. */
interface Column {
  readonly database: Database;
  readonly versions: CatchUpRun["versions"];
  /** NaN if there is none. */
  of(figure: (run: CatchUpRun) => number | undefined): number;
}

function columnOf(database: Database, all: readonly CatchUpRun[]): Column {
  const runs = all.filter((run) => run.database === database);
  return {
    database,
    versions: runs[0]?.versions ?? {},
    of: (figure) => median(runs.map((run) => figure(run) ?? Number.NaN)),
  };
}

const reading = `The analytics were down while events happened, and are started again while orders come in. They have caught up
when each of their consumers has been without lag: without a message that is not delivered, or delivered and not acknowledged,
which it is once it is in the database. For 40,000 events the figure that people quote for such a system is just under 4 minutes.`;

function timeTable(columns: readonly Column[]): string {
  const row = (what: string, figure: (run: CatchUpRun) => number | undefined, goal = "") => [
    what,
    ...columns.map(({ of }) => number(of(figure))),
    goal,
  ];
  const cpu = (name: string) => (run: CatchUpRun) => {
    const ms = run.during.cpuMs?.[name];
    return ms === undefined ? undefined : ms / 1_000;
  };
  return table([
    ["", ...columns.map(({ database }) => databases[database]), "goal"],
    ["events missed", ...columns.map(({ of }) => count(Math.round(of(({ events }) => events)))), ""],
    row("**caught up after, s**", ({ seconds }) => seconds, `${GOAL_SECONDS}`),
    row("– of it until the process was ready, s", ({ readySeconds }) => readySeconds),
    row("events a second, start included", ({ events, seconds }) => seconds && events / seconds),
    row("CPU meanwhile, s: analytics", cpu(ANALYTICS)),
    row("– PostgreSQL", cpu("postgres")),
    row("– nats-server, orders included", cpu(natsServerName)),
  ]);
}

function latencyTable(columns: readonly Column[]): string {
  const rows = (["p50", "p99"] as const).flatMap((name) => {
    const row = (what: string, span: (run: CatchUpRun) => Span) => [
      `${what}, ${name} ms`,
      ...columns.map(({ of }) => number(of((run) => span(run).latency[name]))),
      "",
    ];
    return [
      row("an order without analytics", ({ without }) => without),
      row("an order while they catch up", ({ during }) => during),
      row("an order with analytics, afterwards", ({ afterwards }) => afterwards),
      [
        `**while they catch up, to without, ${name}**`,
        ...columns.map((column) => number(ratioOf(column, name))),
        `${GOAL_RATIO}`,
      ],
    ];
  });
  return table([["", ...columns.map(({ database }) => databases[database]), "goal"], ...rows]);
}

function ratioOf({ of }: Column, name: keyof Latency): number {
  return of(({ during }) => during.latency[name]) / of(({ without }) => without.latency[name]);
}

function problemsOf(runs: readonly CatchUpRun[]): string[] {
  const whats = runs.map(({ database }, i) => {
    const same = runs.filter((other) => other.database === database);
    return same.length > 1 ? `${database} (run ${same.indexOf(runs[i] as CatchUpRun) + 1})` : database;
  });
  const found = runs.flatMap(({ seconds, errors, books }, i) => [
    ...(seconds === undefined ? [`${whats[i]}: has not caught up`] : []),
    ...(errors.length > 0
      ? [
          `${whats[i]}: ${count(errors.length)} orders did not complete: ${[...new Set(errors)].slice(0, 3).join("; ")}`,
        ]
      : []),
    ...books
      .filter(({ inLedgers, inAnalytics }) => inLedgers !== inAnalytics)
      .map(
        ({ what, inLedgers, inAnalytics }) =>
          `${whats[i]}: the analytics have ${count(inAnalytics)} ${what}, the ledgers ${count(inLedgers)}`,
      ),
  ]);
  const spans = runs.flatMap(({ without, during }, i) => [
    { ...without, what: `${whats[i]}, without analytics` },
    { ...during, what: `${whats[i]}, while they catch up` },
  ]);
  return [...found, ...disturbances(spans)];
}
