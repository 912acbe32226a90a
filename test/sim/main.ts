import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError, Option } from "commander";
import { type Bug, bugs } from "./process.ts";
import { runSeeds } from "./run.ts";
import { type Simulation, simulate } from "./simulate.ts";

const options = new Command("npm run sim --")
  .description(
    "Runs the whole shop in virtual time under faults, once for each seed, and checks the invariants",
  )
  .option("--seeds <n>", "how many seeds", whole, 1_000)
  .option("--from <n>", "the first seed", whole, 1)
  .option("--seed <n>", "one seed, with its history", whole)
  .option("--orders <n>", "orders of each seed; without it 3 to 12, by the seed", whole)
  .addOption(new Option("--bug <name>", "a mistake in the machinery, to see that it is found").choices(bugs))
  .parse()
  .opts<{ seeds: number; from: number; seed?: number; orders?: number; bug?: Bug }>();

/** Failures that are printed: more of them say the same. */
const MAX_TOLD = 5;

process.exitCode = (options.seed === undefined ? await runMany() : replay(options.seed)) ? 1 : 0;

/** @returns Whether anything is wrong. */
async function runMany(): Promise<boolean> {
  const { seeds: count, from, orders, bug } = options;
  const started = performance.now();
  const progress = progressOf(count);
  const result = await runSeeds({ from, count, orders, bug, onProgress: progress.update });
  progress.stop();
  const seconds = (performance.now() - started) / 1_000;
  console.log(
    `${result.count.toLocaleString("en")} seeds from ${from} on, ${result.orders.toLocaleString("en")} orders, ` +
      `${result.events.toLocaleString("en")} events in ${seconds.toFixed(1)} s: ` +
      `${Math.round(result.count / seconds)} seeds/s, ${result.failed.length} failed`,
  );
  for (const failure of result.failed.slice(0, MAX_TOLD)) tell(failure);
  const [first] = result.failed;
  if (first === undefined) return false;
  console.log(`\nHistory of seed ${first.seed}, as far as it is about what is wrong:`);
  for (const line of historyOf(first)) console.log(line);
  return true;
}

/** @returns Whether anything is wrong. */
function replay(seed: number): boolean {
  const result = simulate(seed, {
    orders: options.orders,
    bug: options.bug,
    say: (line) => console.log(line),
  });
  tell(result);
  return result.faults.length > 0;
}

function tell({ seed, orders, events, faults }: Simulation): void {
  console.log(
    `\nSeed ${seed}, ${orders} orders, ${events} events: ${faults.length === 0 ? "all is well" : "WRONG"}`,
  );
  for (const { what, orderId } of faults)
    console.log(`  ${orderId === undefined ? "" : `${orderId}: `}${what}`);
  const { orders: set, bug } = options;
  const same = `${set === undefined ? "" : ` --orders ${set}`}${bug === undefined ? "" : ` --bug ${bug}`}`;
  if (faults.length > 0) console.log(`  Again, with its history: npm run sim -- --seed ${seed}${same}`);
}

function historyOf({ seed, faults }: Simulation): string[] {
  const ids = faults.flatMap(({ orderId }) => (orderId === undefined ? [] : [orderId]));
  const lines: string[] = [];
  simulate(seed, { orders: options.orders, bug: options.bug, say: (line) => lines.push(line) });
  return ids.length === 0 ? lines : lines.filter((line) => ids.some((id) => line.includes(id)));
}

/** A bar in a terminal; elsewhere a line for each tenth. */
function progressOf(total: number): { update(done: number): void; stop(): void } {
  if (process.stdout.isTTY) {
    const bar = new SingleBar({
      format: "{bar} {percentage} %  {value} of {total} seeds  {eta_formatted} left",
    });
    bar.start(total, 0);
    return { update: (done) => bar.update(done), stop: () => bar.stop() };
  }
  let tenths = 0;
  return {
    update(done) {
      const reached = Math.floor((10 * done) / total);
      if (reached > tenths) console.log(`${reached * 10} %: ${done} of ${total} seeds`);
      tenths = reached;
    },
    stop: () => undefined,
  };
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError("Must be a whole number from 1 on.");
  return value;
}
