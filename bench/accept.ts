import { startAcceptingShop } from "./accept_shop.ts";
import { startBare } from "./bare.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { measureOne, medianLevels, problemsOf, runName, warmUp } from "./levels.ts";
import { type Level, totalCpuMs } from "./measure.ts";
import { count, number, type Result, table } from "./report.ts";
import type { ShopTargetOptions } from "./shop.ts";
import type { Target } from "./target.ts";

/** What one of the two came to. */
interface Side {
  readonly name: string;
  readonly settings: readonly string[];
  /** Medians of `runs`. */
  readonly levels: readonly Level[];
  readonly runs: readonly (readonly Level[])[];
}

/** At 256 in flight, the shop to the bare server. */
const GOAL = { concurrency: 256, ratio: 0.7 } as const;

export const accept: Benchmark = {
  name: "accept",
  description: "POST /orders alone, against a bare server that stores one message",
  async run(context) {
    await using shop = await start(startAcceptingShop, context);
    await using bare = await start(startBare, context);
    const first = await measureBoth([shop, bare], context);
    const others: [Level[], Level[]][] = [];
    while (others.length + 1 < context.options.repeat) {
      others.push(await measureBoth([shop, bare], context));
    }
    const sideOf = ({ name, settings }: Target, side: 0 | 1): Side => {
      const runs = [first[side], ...others.map((both) => both[side])] as const;
      return { name, settings, levels: medianLevels(runs), runs };
    };
    return report({ shop: sideOf(shop, 0), bare: sideOf(bare, 1), context });
  },
};

async function start(
  starter: (options: ShopTargetOptions) => Promise<Target>,
  context: Context,
): Promise<Target> {
  context.show("starting");
  const target = await starter({ dataDir: context.folder("accept"), signal: context.signal });
  await warmUp(target, context);
  return target;
}

/** Level by level, in turns: a machine is not as fast in one minute as in the next. The other one idles meanwhile. */
async function measureBoth(sides: readonly [Target, Target], context: Context): Promise<[Level[], Level[]]> {
  const levels: [Level[], Level[]] = [[], []];
  for (const concurrency of context.options.concurrency) {
    for (const side of [0, 1] as const) {
      levels[side].push(await measureOne(sides[side], context, { concurrency }));
    }
  }
  return levels;
}

function report({ shop, bare, context }: { shop: Side; bare: Side; context: Context }): Result {
  const columns = (name: string) => [`${name}, a second`, "p50", "p99", "CPU"];
  const head = ["in flight", ...columns("shop"), ...columns("bare"), "ratio", "goal"];
  const figures = (level: Level) => [
    number(level.perSecond),
    number(level.end.p50),
    number(level.end.p99),
    number(totalCpuMs(level)),
  ];
  const rows = shop.levels.map((level, i) => {
    const other = bare.levels[i] as Level;
    return [
      count(level.concurrency),
      ...figures(level),
      ...figures(other),
      number(level.perSecond / other.perSecond),
      level.concurrency === GOAL.concurrency ? `≥ ${GOAL.ratio}` : "",
    ];
  });
  const sides = [shop, bare];
  const { seconds, repeat } = context.options;
  return {
    title: "Accepting orders",
    settings: [
      `Closed loop, ${seconds} s for each level after 2 s of warm-up${repeat > 1 ? `; medians of ${repeat} runs` : ""}. The load generator runs on the same cores.`,
      ...sides.flatMap(({ name, settings }) => settings.map((setting) => `${name}: ${setting}`)),
    ],
    versions: {},
    body: `${reading}\n\n${table([head, ...rows])}`,
    data: { shop, bare },
    problems: problemsOf(
      sides.flatMap(({ name, runs }) => {
        return runs.map((levels, run) => ({ name: runName(name, { run, of: runs.length }), levels }));
      }),
    ),
  };
}

const reading = `\`POST /orders\` until its answer, which means stored and synced. *CPU* is of the server and nats-server, for each
order; *ratio* is of orders a second. Times are milliseconds. Load generator and servers share the cores: where they are
all busy, what the generator takes (\`generatorMs\` of \`--json\`) makes the two more alike than they are.`;
