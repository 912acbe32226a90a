import { Command } from "commander";
import { markdownTable } from "markdown-table";
import { type Table, table } from "../../services/coordinator/table.ts";
import { type Exploration, explore, type Violation } from "./explore.ts";
import { omissions } from "./mutations.ts";
import { scenarios } from "./world.ts";

const options = new Command("npm run model --")
  .description("Visits every state that one order can get into, and checks the invariants in each")
  .option("--scenario <text>", "only those with this in their name", "")
  .option(
    "--mutations",
    "leave out one thing of the checkout's table after the other, and say whether it is noticed",
  )
  .parse()
  .opts<{ scenario: string; mutations?: boolean }>();

const chosen = scenarios.filter(({ name }) => name.includes(options.scenario));
const failed = options.mutations === true ? checkMutations() : checkScenarios();
process.exitCode = failed ? 1 : 0;

function checkScenarios(): boolean {
  const rows: (readonly string[])[] = [];
  const found: Exploration[] = [];
  const began = performance.now();
  for (const scenario of chosen) {
    const started = performance.now();
    const result = explore(scenario, table);
    found.push(result);
    rows.push([
      scenario.name,
      ...counts(result),
      seconds(started),
      result.violation === undefined ? "holds" : "VIOLATED",
    ]);
    if (result.violation !== undefined) print(scenario.name, result.violation);
  }
  rows.push(["all", ...counts(sum(found)), seconds(began), ""]);
  const head = ["scenario", "states", "steps", "ends", "seconds", "invariants"];
  console.log(markdownTable([head, ...rows], { align: ["l", "r", "r", "r", "r", "l"] }));
  return found.some(({ violation }) => violation !== undefined);
}

function checkMutations(): boolean {
  const survivors: string[] = [];
  const all = omissions();
  for (const { name, table: mutant } of all) {
    const violation = firstViolation(mutant);
    if (violation === undefined) survivors.push(name);
    else console.log(`noticed  ${name}: ${violation.what} (${violation.trace.length} steps)`);
  }
  console.log(`${all.length - survivors.length} of ${all.length} are noticed. Without them nothing breaks:`);
  for (const name of survivors) console.log(`  ${name}`);
  return false;
}

function firstViolation(mutant: Table): Violation | undefined {
  for (const scenario of chosen) {
    const { violation } = explore(scenario, mutant);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

function print(name: string, { what, trace }: Violation): void {
  console.log(`\n${name}: ${what}`);
  for (const [index, step] of trace.entries()) console.log(`${String(index + 1).padStart(4)}  ${step}`);
  console.log();
}

function sum(found: readonly Exploration[]): Exploration {
  return found.reduce((all, { states, steps, ends }) => ({
    states: all.states + states,
    steps: all.steps + steps,
    ends: all.ends + ends,
  }));
}

function counts({ states, steps, ends }: Exploration): string[] {
  return [states, steps, ends].map((count) => count.toLocaleString("en"));
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(1);
}
