import type { Benchmark, Context } from "./benchmark.ts";
import { disturbances, probeDisk, type Quiet, readBusyMs, shareOfMachine } from "./quiet.ts";
import { number, type Result, table } from "./report.ts";
import { startOnce, type Timed } from "./start_once.ts";
import { quantile } from "./stats.ts";

/** A start is over in seconds, and one is not like the next. */
const WARM_STARTS = 5;
/** Of a warm start, to the first order that is accepted. */
const GOAL_SECONDS = 4;

/** One start, and what else the machine did meanwhile. */
interface Measured extends Timed, Quiet {}

export const start: Benchmark = {
  name: "start",
  description: "npm start on a new folder, and again: how long until an order is accepted",
  async run(context) {
    const dataDir = context.folder("start");
    const first = await measure("first start", dataDir, context);
    const warm: Measured[] = [];
    while (warm.length < WARM_STARTS * context.options.repeat) {
      warm.push(await measure(`start ${warm.length + 2}`, dataDir, context));
    }
    return report(first, warm);
  },
};

async function measure(what: string, dataDir: string, context: Context): Promise<Measured> {
  const { show, tell, signal, home } = context;
  show(what);
  const probeMs = probeDisk(home);
  const [began, busyBefore] = [performance.now(), readBusyMs()];
  const timed = await startOnce(dataDir, { signal });
  const busy = busyBefore === undefined ? undefined : (readBusyMs() ?? 0) - busyBefore;
  // Of the time until all is ready, and after it until all has ended, in which only the shop has work.
  const foreign =
    busy === undefined || timed.cpuMs === undefined
      ? undefined
      : Math.max(0, shareOfMachine(busy - timed.cpuMs, performance.now() - began));
  tell(
    `${what}: ${number(timed.acceptedMs / 1_000)} s to the first order, ${number(timed.readyMs / 1_000)} s to all`,
  );
  return { ...timed, probeMs, foreign };
}

function report(first: Measured, warm: readonly Measured[]): Result {
  const seconds = (of: (one: Measured) => number, rank: number) =>
    number(
      quantile(
        warm.map(of).toSorted((a, b) => a - b),
        rank,
      ) / 1_000,
    );
  const row = (name: string, of: (one: Measured) => number, goal = "") => [
    name,
    number(of(first) / 1_000),
    seconds(of, 0.5),
    seconds(of, 1),
    goal,
  ];
  return {
    title: "Starting",
    settings: [
      `\`npm start\`, set-up included, on a new folder; then ${warm.length} times on the same one, which is stopped in between.`,
      "Nothing but this polls: an order is sent every 20 ms until one is accepted.",
    ],
    versions: {},
    body: `${reading}\n\n${table([
      ["seconds until", "first", "warm, median", "warm, worst", "goal"],
      row("an order is accepted", ({ acceptedMs }) => acceptedMs, `≤ ${GOAL_SECONDS}`),
      row("the shop is open", ({ openMs }) => openMs),
      row("everything is ready", ({ readyMs }) => readyMs),
      row("CPU of all processes by then", ({ cpuMs = Number.NaN }) => cpuMs),
    ])}`,
    data: { first, warm },
    problems: disturbances([first, ...warm].map((one, n) => ({ ...one, what: `start ${n + 1}` }))),
  };
}

const reading = `The first start makes streams, credentials and analytics' database, and each service compiles its code; later ones find all
that. The shop is open when what orders need is ready; registry, monitor and analytics start after that.`;
