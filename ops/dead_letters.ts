import { type Command, InvalidArgumentError, Option } from "commander";
import {
  DEFAULT_REDRIVE_RATE,
  type DeadLetterFilter,
  type DeadLetterSource,
  deadLetterStatuses,
  discardDeadLetter,
  findDeadLetter,
  type LetterOutcome,
  lastChange,
  listDeadLetters,
  MAX_REDRIVE_RATE,
  type RedriveOptions,
  redriveDeadLetter,
  redriveDeadLetters,
} from "../nats/mod.ts";
import { letterDetails, letterSummary, outcomeJson } from "../services/monitor/letters.ts";
import { time } from "./arguments.ts";
import type { Shop } from "./connect.ts";
import {
  colour,
  columns,
  type ExitCode,
  note,
  type Output,
  print,
  printJson,
  progress,
  shorten,
} from "./output.ts";
import type { Context } from "./program.ts";
import { openTrials } from "./trial.ts";

const MAX_LIST = 10_000;

interface FilterFlags {
  service?: string;
  type?: string;
  error?: string;
  from?: Date;
  to?: Date;
}
type Flags = FilterFlags & { json?: boolean; by?: string };

/** `dead-letters list|show|redrive|discard`. */
export function addDeadLetters(program: Command, context: Context): void {
  const group = program
    .command("dead-letters")
    .alias("dl")
    .description("messages that their consumer could not handle");

  withFilter(group.command("list").description("what is parked, oldest change first"))
    .addOption(
      new Option("--status <status>", "where the letters stand")
        .choices([...deadLetterStatuses, "all"])
        .default("parked"),
    )
    .option("--limit <n>", "how many at most", count(MAX_LIST), 50)
    .option("--cursor <cursor>", "go on where an earlier list ended", count(Number.MAX_SAFE_INTEGER))
    .option("--ids", "print ids, one a line, and nothing else")
    .action(
      (
        flags: Flags & { ids?: boolean; status: DeadLetterFilter["status"]; limit: number; cursor?: number },
      ) => context.run((shop) => list(context.output, shop, flags)),
    );

  group
    .command("show <id>")
    .description("all that is known of one, with its payload by its schema")
    .option("--json", "print JSON")
    .action((id: string, flags: Flags) => context.run((shop) => show(context.output, shop, id, flags)));

  withFilter(group.command("redrive [id...]").description("send parked messages back to their consumer"))
    .option("--all", "all that are parked")
    .option(
      "--dry-run",
      "only say what would happen: all that its service does is tried, up to the effect, and nothing stored",
    )
    .option("--force", "redrive what would be parked again, too")
    .option("--rate <n>", `how many a second at most, up to ${MAX_REDRIVE_RATE}`, rate, DEFAULT_REDRIVE_RATE)
    .option("--by <name>", "who does it, as it is recorded", context.config.by)
    .action(
      (
        ids: string[],
        flags: Flags & { all?: boolean; dryRun?: boolean; force?: boolean; rate: number },
        cmd,
      ) => {
        const filtered = Object.values(filterOf(flags)).some((value) => value !== undefined);
        if (Number(ids.length > 0) + Number(filtered || flags.all === true) !== 1)
          cmd.error("error: name either ids, or a filter, or --all");
        return context.run((shop) => redrive(context.output, shop, ids, flags));
      },
    );

  group
    .command("discard <id...>")
    .description("record that nothing will be done about them; they stay in the stream")
    .requiredOption("--reason <text>", "why")
    .option("--by <name>", "who does it, as it is recorded", context.config.by)
    .option("--json", "print JSON")
    .action((ids: string[], flags: Flags & { by: string; reason: string }) =>
      context.run(async (shop) => {
        const results: LetterOutcome[] = [];
        for (const id of ids) {
          const result = await discardDeadLetter(shop, id, flags);
          results.push(result);
          if (!flags.json) printOutcome(context.output, result);
        }
        return conclude(context.output, results, flags);
      }),
    );
}

function withFilter(command: Command): Command {
  return command
    .option("--service <name>", "parked by this service")
    .option("--type <type>", "of this subject without its id, such as checkout.reserve_stock")
    .option("--error <text>", "whose error contains this")
    .option("--from <time>", "changed at this time or later, such as 2026-01-31T08:00:00Z", time)
    .option("--to <time>", "changed at this time or earlier", time)
    .option("--json", "print JSON");
}

async function list(
  output: Output,
  { jsm }: DeadLetterSource,
  flags: Flags & { ids?: boolean; status: DeadLetterFilter["status"]; limit: number; cursor?: number },
): Promise<ExitCode> {
  const { limit, status } = flags;
  const letters: ReturnType<typeof letterSummary>[] = [];
  let from = flags.cursor;
  do {
    const filter = { ...filterOf(flags), status };
    const page = await listDeadLetters(jsm, filter, { limit: limit - letters.length, from });
    letters.push(...page.letters.map(letterSummary));
    from = page.next;
  } while (from !== undefined && letters.length < limit);
  if (flags.json) {
    printJson(output, { dead_letters: letters, ...(from !== undefined && { next_cursor: String(from) }) });
    return 0;
  }
  if (flags.ids) {
    for (const { id } of letters) print(output, id);
    // A script that asks for ids cannot go on without one.
    return letters.length > 0 ? 0 : 1;
  }
  const heads = columns([
    ["ID", "TYPE", "PARKED", "TRIES", "STATUS"],
    ...letters.map(({ id, type, parked_at, attempt, status: standing }) => [
      id,
      type,
      parked_at.slice(0, 19).replace("T", " "),
      `${attempt}`,
      standing,
    ]),
  ]);
  for (const [index, head] of heads.entries()) {
    print(output, index === 0 ? colour(output, "bold", head) : head);
    const letter = letters[index - 1];
    if (letter !== undefined) print(output, colour(output, "dim", `  ${shorten(letter.error, 2)}`));
  }
  note(output, from === undefined ? `${letters.length} found` : `More: --cursor ${from}`);
  return 0;
}

async function show(output: Output, { jsm }: DeadLetterSource, id: string, flags: Flags): Promise<ExitCode> {
  const letter = await findDeadLetter(jsm, id);
  if (letter === undefined) {
    note(output, `Cannot show ${id}: there is no such dead letter`);
    return 1;
  }
  const { headers, payload, ...details } = letterDetails(letter);
  if (flags.json) {
    printJson(output, { ...details, headers, payload });
    return 0;
  }
  const pairs = (values: object) =>
    columns(Object.entries(values).map(([name, value]) => [name, `${value}`]));
  for (const line of pairs(details)) print(output, line);
  print(output, `\n${colour(output, "bold", "Headers")}`);
  for (const line of pairs(headers)) print(output, `  ${line}`);
  print(output, `\n${colour(output, "bold", "Payload")}`);
  printJson(output, payload);
  return 0;
}

async function redrive(
  output: Output,
  shop: Shop,
  ids: readonly string[],
  flags: Flags & { dryRun?: boolean; force?: boolean; rate: number },
): Promise<ExitCode> {
  const { by = "", dryRun = false, force = false, rate } = flags;
  await using trials = openTrials(shop);
  const options = { by, dryRun, force, trial: trials.trial };
  const results: LetterOutcome[] = [];
  const total = ids.length > 0 ? ids.length : await countOf(shop, filterOf(flags));
  {
    using bar = progress(output, dryRun ? "Checking" : "Redriving", total);
    const each = ids.length > 0 ? one(shop, ids, options) : many(shop, flags, { ...options, rate });
    for await (const result of each) {
      results.push(result);
      bar.step();
      if (!output.err.isTTY && !flags.json) printOutcome(output, result);
    }
  }
  // The bar had the terminal until now.
  if (output.err.isTTY && !flags.json) for (const result of results) printOutcome(output, result);
  return conclude(output, results, flags);
}

async function* one(shop: DeadLetterSource, ids: readonly string[], options: RedriveOptions) {
  for (const id of ids) yield await redriveDeadLetter(shop, id, options);
}

async function* many(shop: DeadLetterSource, flags: FilterFlags, options: RedriveOptions & { rate: number }) {
  const upTo = await lastChange(shop);
  yield* redriveDeadLetters(shop, filterOf(flags), { ...options, upTo });
}

/** How many there are, for the bar: they may become fewer or more meanwhile. */
async function countOf({ jsm }: DeadLetterSource, filter: DeadLetterFilter): Promise<number> {
  let total = 0;
  let from: number | undefined;
  do {
    const page = await listDeadLetters(jsm, filter, { limit: MAX_LIST, from });
    total += page.letters.length;
    from = page.next;
  } while (from !== undefined);
  return total;
}

const wrong: readonly LetterOutcome["outcome"][] = ["failed", "missing", "would_fail"];

function conclude(output: Output, results: readonly LetterOutcome[], { json }: Flags): ExitCode {
  const counts = Object.fromEntries(
    Map.groupBy(results, ({ outcome }) => outcome)
      .entries()
      .map(([outcome, { length }]) => [outcome, length]),
  );
  if (json) printJson(output, { counts, results: results.map(outcomeJson) });
  else {
    const parts = Object.entries(counts).map(([outcome, number]) => `${number} ${outcome}`);
    note(output, parts.join(", ") || "Nothing matches");
  }
  return results.some(({ outcome }) => wrong.includes(outcome)) ? 1 : 0;
}

function printOutcome(output: Output, { id, outcome, detail }: LetterOutcome): void {
  const format = wrong.includes(outcome) ? "red" : outcome === "unchanged" ? "yellow" : "green";
  print(output, `${colour(output, format, outcome.padEnd(13))} ${id}: ${detail}`);
}

function filterOf({ service, type, error, from, to }: FilterFlags): DeadLetterFilter {
  return { service, type, error, from, to };
}

function count(max: number): (text: string) => number {
  return (text) => {
    const number = /^[1-9]\d*$/.test(text) ? Number(text) : 0;
    if (number < 1 || number > max) throw new InvalidArgumentError(`It is no number from 1 to ${max}.`);
    return number;
  };
}

function rate(text: string): number {
  const number = Number(text);
  if (!(number > 0 && number <= MAX_REDRIVE_RATE))
    throw new InvalidArgumentError(`It is no number from 0 to ${MAX_REDRIVE_RATE}.`);
  return number;
}
