import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError, Option } from "commander";
import { counted } from "../../nats/mod.ts";
import { catalogue } from "./catalogue.ts";
import { type Fault, untried } from "./fault.ts";
import { resultTable, writeResults } from "./report.ts";
import { type Result, runFault } from "./runner.ts";
import type { World } from "./world.ts";

interface Options {
  readonly nodes: 1 | 3;
  readonly only?: readonly string[];
  readonly orders: number;
  readonly rounds: number;
  readonly minutes: number;
}

/** Enough for every kind of order to be hit at every stage, and for the whole run to end within half an hour. */
const ORDERS = 80;
const ROUNDS = 2;
const MINUTES = 45;
const SHOW_EVERY_MS = 250;

const program = new Command("npm run faults --")
  .description(
    "Breaks the shop in every way that has a name, while orders are placed, and audits everything that is stored after " +
      "each. A whole run writes its results to docs/faults.md.\n\nTests on one server: " +
      `${names(1)}.\nTests on three: ${names(3)}.`,
  )
  .addOption(new Option("--nodes <count>", "servers that the shop runs on").choices(["1", "3"]).default("1"))
  .option("--only <names>", "comma-separated names of tests; nothing is written then", (text) =>
    text.split(","),
  )
  .option("--orders <count>", "orders to place during each test, at least", positive, ORDERS)
  .option("--rounds <count>", "how often each fault is repeated", positive, ROUNDS)
  .option("--minutes <count>", "no test begins after so long", positive, MINUTES);

function names(nodes: 1 | 3): string {
  return catalogue[nodes].map(({ name }) => name).join(", ");
}

function positive(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1)
    throw new InvalidArgumentError("It has to be a whole number above 0.");
  return count;
}

/** @returns The process's exit code: 0 if everything held, 1 if not, 2 if there is nothing of that name. */
async function main(options: Options): Promise<number> {
  const { nodes, only, minutes } = options;
  const unknown = only?.filter((name) => !catalogue[nodes].some((fault) => fault.name === name)) ?? [];
  if (unknown.length > 0) {
    console.error(`There is no test ${unknown.join(", ")} on ${nodes} server(s): ${names(nodes)}`);
    return 2;
  }
  const faults = catalogue[nodes].filter(({ name }) => only?.includes(name) ?? true);
  const until = performance.now() + minutes * 60_000;
  const results: Result[] = [];
  const bar = new SingleBar({
    format: "{bar} {value}/{total} {name} · {duration_formatted}",
    noTTYOutput: false,
  });
  if (process.stdout.isTTY) bar.start(faults.length, 0, { name: "" });
  for (const fault of faults) {
    if (performance.now() > until) break;
    bar.update(results.length, { name: fault.name });
    const result = await watched(fault, options, (text) => bar.update(results.length, { name: text }));
    results.push(result);
    if (!process.stdout.isTTY) console.log(line(result));
  }
  bar.update(results.length, { name: "" });
  bar.stop();
  console.log(`\n${resultTable(results, nodes)}\n`);
  console.log(`${untried}\n`);
  for (const result of results) explain(result);
  const missing = faults.slice(results.length).map(({ name }) => name);
  if (missing.length > 0) console.error(`Out of time, not run: ${missing.join(", ")}`);
  if (only === undefined && missing.length === 0) writeResults(results, nodes);
  return missing.length > 0 || results.some(({ violations }) => violations.length > 0) ? 1 : 0;
}

/** Runs one test, and says a few times a second how far it is. */
async function watched(fault: Fault, options: Options, show: (text: string) => void): Promise<Result> {
  let world: World | undefined;
  const timer = setInterval(() => {
    if (world === undefined) return;
    const { kills, pauses, network } = world.tally;
    const parts = [
      counted(world.accepted.length, "order"),
      counted(kills, "kill"),
      counted(pauses, "pause"),
      `${network} on the network`,
    ];
    show(`${fault.name}: ${parts.join(", ")}`);
  }, SHOW_EVERY_MS);
  try {
    return await runFault(fault, options, {
      onOpen: (opened) => {
        world = opened;
      },
    });
  } finally {
    clearInterval(timer);
  }
}

function line({ fault, orders, violations, seconds }: Result): string {
  return `${fault.name}: ${counted(orders, "order")}, ${counted(violations.length, "violation")}, ${seconds.toFixed(0)} s`;
}

/** Says what is wrong and where to look. */
function explain({ fault, violations, kept }: Result): void {
  if (violations.length === 0) return;
  const shown = violations.slice(0, 20);
  console.error(`${fault.name} FAILED:\n  ${shown.join("\n  ")}`);
  if (violations.length > shown.length) console.error(`  and ${violations.length - shown.length} more`);
  const open = fault.world.nodes === undefined ? `; DATA_DIR=${kept} npm start opens the shop as it was` : "";
  console.error(`  Logs and state: ${kept}${open}`);
  console.error(
    `  Again: npm run faults -- --only ${fault.name}${fault.world.nodes?.count === 3 ? " --nodes 3" : ""}`,
  );
}

const options = program.parse().opts<Omit<Options, "nodes"> & { nodes: string }>();
process.exit(await main({ ...options, nodes: options.nodes === "3" ? 3 : 1 }));
