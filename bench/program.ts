import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { projectFolder } from "../tools/nats_server.mjs";
import type { Benchmark } from "./benchmark.ts";
import { benchmarks } from "./benchmarks.ts";
import { faultNames } from "./cascade_side.ts";
import { STEADY_RATE } from "./catchup.ts";
import { databaseNames } from "./catchup_shop.ts";
import { type RunOptions, runBenchmarks } from "./run.ts";
import { targetNames } from "./targets.ts";

/** The shop takes 4,096 requests at a time and answers more with 503, which is not what is measured. */
const MAX_CONCURRENCY = 4_000;
const MAX_SECONDS = 3_600;
const MAX_REPEAT = 100;
/** So many take a good part of a terabyte. */
const MAX_ORDERS = 50_000_000;
/** Placed for real, at some thousands a second, in a store of 10 GB. */
const MAX_EVENTS = 2_000_000;
/** Of the generator on the cores that it shares with what it measures. */
const MAX_RATE = 500;

const help = `
The folder of the stores should be on the disk that the shop would be on: file systems differ, and one in memory
makes every sync free. Ends with 0, with 1 if something could not be measured, failed or was disturbed, with 2 if it was
called wrongly, with 130 after Ctrl-C. Do not kill it with SIGKILL: what it has started (nats-server, services,
PostgreSQL, Restate) goes on running then, and its folder stays.`;

/** The command line. Running it sets the process's exit code. */
export function createProgram(): Command {
  const program = new Command("npm run bench --")
    .usage("[benchmark] [options]")
    .description(
      "Measures the shop, and what people would use instead, on this machine; all benchmarks unless one is named. Each " +
        "prints its tables and replaces its section of docs/benchmarks.md.",
    )
    .option(
      "--concurrency <list>",
      "orders in flight, one level after the other",
      listOf(MAX_CONCURRENCY),
      [1, 16, 64, 256, 1000],
    )
    .option("--seconds <n>", "how long each level is measured", whole(MAX_SECONDS), 10)
    .option("--targets <list>", "what is measured, where there is a choice", someOf(targetNames), [
      ...targetNames,
    ])
    .option("--rate <n>", "cascade: orders a second", whole(MAX_RATE), 50)
    .option("--before <n>", "cascade: seconds of load before the fault", whole(MAX_SECONDS), 15)
    .option("--fault <n>", "cascade: seconds that the fault lasts", whole(MAX_SECONDS), 30)
    .option("--after <n>", "cascade: seconds of load after the fault", whole(MAX_SECONDS), 15)
    .option("--faults <list>", "cascade: what is wrong with inventory", someOf(faultNames), [...faultNames])
    .option("--no-syncs", "do without the run that counts fsyncs")
    .option(
      "--orders <list>",
      "growth, export: finished orders that the shop keeps",
      listOf(MAX_ORDERS),
      [10_000, 100_000, 1_000_000],
    )
    .option("--events <n>", "catchup: how many events the analytics miss", whole(MAX_EVENTS), 40_000)
    .option("--steady <n>", "catchup: orders a second while it is measured", whole(MAX_RATE), STEADY_RATE)
    .option("--databases <list>", "catchup: what the analytics write to", someOf(databaseNames), [
      ...databaseNames,
    ])
    .option(
      "--repeat <n>",
      "checkout, accept, catchup, start: how often all is measured, who is first in turns; figures are medians (one run is for a look, " +
        "three and more are to be quoted)",
      whole(MAX_REPEAT),
      1,
    )
    .option(
      "--data-dir <folder>",
      "where a folder for the stores is made, and removed",
      join(projectFolder, ".data"),
    )
    .option("--json <file>", "write the figures as JSON as well")
    .addOption(
      new Option("--docs <file>", "whose sections are replaced").default(
        join(projectFolder, "docs", "benchmarks.md"),
        "docs/benchmarks.md",
      ),
    )
    .option("--no-docs", "replace nothing")
    .addHelpText("after", help)
    .showHelpAfterError("(--help says how)")
    .configureHelp({ showGlobalOptions: true })
    .allowExcessArguments(false)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  const runs = (chosen: readonly Benchmark[]) => async () => {
    process.exitCode = await runBenchmarks(chosen, program.opts<RunOptions>());
  };
  program.action(runs(benchmarks));
  for (const benchmark of benchmarks) {
    const command = program.command(benchmark.name).description(benchmark.description);
    command.copyInheritedSettings(program).action(runs([benchmark]));
  }
  return program;
}

function whole(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw new InvalidArgumentError(`It has to be a whole number from 1 to ${max}.`);
    }
    return value;
  };
}

function listOf(max: number): (text: string) => number[] {
  return (text) => [...new Set(text.split(",").map(whole(max)))];
}

function someOf(known: readonly string[]): (text: string) => string[] {
  return (text) => {
    const names = [...new Set(text.split(","))];
    const unknown = names.filter((name) => !known.includes(name));
    if (unknown.length > 0) {
      throw new InvalidArgumentError(`There is no ${unknown.join(", ")}: choose of ${known.join(", ")}.`);
    }
    return names;
  };
}
