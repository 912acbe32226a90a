import { startAcceptingShop } from "./accept_shop.ts";
import { startBare } from "./bare.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { failuresOf, measureLevels } from "./levels.ts";
import { type Level, totalCpuMs } from "./measure.ts";
import { count, number, type Result, table } from "./report.ts";
import type { ShopTargetOptions } from "./shop.ts";
import { medianOf } from "./stats.ts";
import type { Target } from "./target.ts";

/** What one of the two came to. */
interface Side {
  readonly name: string;
  readonly settings: readonly string[];
  readonly levels: readonly Level[];
}

/** At 256 in flight, the shop to the bare server. */
const GOAL = { concurrency: 256, ratio: 0.7 } as const;

export const accept: Benchmark = {
  name: "accept",
  description: "POST /orders alone, against a bare server that stores one message",
  async run(context) {
    const sides: [Side[], Side[]] = [[], []];
    for (let round = 0; round < context.options.repeat; round++) {
      const shop = () => measureSide(startAcceptingShop, context).then((side) => sides[0].push(side));
      const bare = () => measureSide(startBare, context).then((side) => sides[1].push(side));
      for (const run of round % 2 === 0 ? [shop, bare] : [bare, shop]) await run();
    }
    const [shop, bare] = sides.map((runs) => medianOf(runs as [Side, ...Side[]])) as [Side, Side];
    return report({ shop, bare, context });
  },
};

async function measureSide(
  start: (options: ShopTargetOptions) => Promise<Target>,
  context: Context,
): Promise<Side> {
  context.show("starting");
  await using target = await start({ dataDir: context.folder("accept"), signal: context.signal });
  const { name, settings } = target;
  return { name, settings, levels: await measureLevels(target, context) };
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
  return {
    title: "Accepting orders",
    settings: [
      `Closed loop, ${context.options.seconds} s for each level after 2 s of warm-up. The load generator runs on the same cores.`,
      ...sides.flatMap(({ name, settings }) => settings.map((setting) => `${name}: ${setting}`)),
    ],
    versions: {},
    body: `${reading}\n\n${table([head, ...rows])}`,
    data: { shop, bare },
    problems: sides.flatMap(({ name, levels }) => failuresOf(name, levels)),
  };
}

const reading = `\`POST /orders\` until its answer, which means stored and synced. *CPU* is of the server and nats-server, for each
order; *ratio* is of orders a second. Times are milliseconds. Load generator and servers share the cores: where they are
all busy, what the generator takes (\`generatorMs\` of \`--json\`) makes the two more alike than they are.`;
