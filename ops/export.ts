import { type Command, Option } from "commander";
import { counted, isUnavailable, orAborted, pause } from "../nats/mod.ts";
import { states } from "../services/coordinator/table.ts";
import { time } from "./arguments.ts";
import type { Shop } from "./connect.ts";
import { columns, personalColumns } from "./export_columns.ts";
import { type Format, formatNames, formats } from "./export_formats.ts";
import { openOrders } from "./export_orders.ts";
import type { Ask } from "./export_records.ts";
import { ClosedError, openFile, openStream, type Target, UnwritableError } from "./export_target.ts";
import { colour, type ExitCode, note, type Output, progress } from "./output.ts";
import type { Context } from "./program.ts";

interface Flags {
  format: Format;
  output?: string;
  from?: Date;
  to?: Date;
  state?: string[];
  withPersonalData?: boolean;
}

interface Copied {
  readonly rows: number;
  /** Messages that are left out, since they are none of their schema. */
  readonly unreadable: number;
  /** What the first of them are. */
  readonly named: readonly string[];
}

/** Long enough for servers that are started again. */
const PATIENCE_MS = 60_000;
const ASK_AGAIN_MS = 500;
const LINES_EVERY_MS = 10_000;
/** As many messages that cannot be read are named; the others are counted. */
const MAX_NAMED = 10;

const help = `
Formats:
  csv      RFC 4180 with a header. Text that a spreadsheet would take for a formula has a ' in front
  json     JSON Lines (NDJSON), one object a line: a single array could not be read before its end has come
  parquet  Apache Parquet with Snappy, ${columns.length + 1} typed columns, times in UTC to the millisecond

One row for each order that is stored when the export begins, oldest first, with what is known of it when its turn comes.
Lines of orders are in json and parquet; csv counts them.`;

/** `export orders`: all orders, with where they stand, for somebody else's tools. */
export function addExport(program: Command, context: Context): void {
  const group = program.command("export").description("what is stored, as files for other tools");
  group
    .command("orders")
    .description("one row for each order, from the streams alone: no service has to run")
    .addOption(new Option("--format <format>", "of the file").choices(formatNames).makeOptionMandatory())
    .option(
      "--output <file>",
      "a file, which has its name only when it is complete; default, and -: standard output",
    )
    .option("--from <time>", "placed at this time or later, such as 2026-01-31 or 2026-01-31T08:00:00Z", time)
    .option("--to <time>", "placed before this time", time)
    .addOption(new Option("--state <state...>", "in one of these states").choices(states))
    .option("--with-personal-data", "with email, name and address of the customer, too")
    .addHelpText("after", help)
    .action(({ output: name, ...rest }: Flags, command: Command) => {
      const output = name === "-" ? undefined : name;
      const flags: Flags = { ...rest, ...(output !== undefined && { output }) };
      const { from, to, format } = flags;
      if (from && to && from >= to) command.error("error: --from is not before --to");
      if (format === "parquet" && output === undefined && context.output.out.isTTY) {
        command.error("error: parquet is nothing for a terminal: give --output <file>, or send it elsewhere");
      }
      const signal = context.interrupted();
      return context.run((shop) => exportOrders(context.output, shop, { ...flags, signal }));
    });
}

async function exportOrders(
  output: Output,
  shop: Shop,
  flags: Flags & { signal: AbortSignal },
): Promise<ExitCode> {
  const name = flags.output ?? "standard output";
  try {
    await using target = await (flags.output === undefined ? openStream(output.out) : openFile(flags.output));
    const copied = await copyOrders(output, shop, { ...flags, target });
    await target.complete();
    note(output, `${counted(copied.rows, "order")} in ${name}`);
    return tellUnreadable(output, copied);
  } catch (cause) {
    if (cause instanceof ClosedError) return 0;
    const why = flags.signal.aborted ? `Interrupted: ${name} is not complete` : explain(cause);
    if (why === undefined) throw cause;
    note(output, colour(output, "red", why, output.err));
    return 1;
  }
}

function explain(cause: unknown): string | undefined {
  if (cause instanceof UnwritableError) return cause.message;
  return isUnavailable(cause)
    ? `Cannot go on: no answer from NATS for ${PATIENCE_MS / 1_000} s (${(cause as Error).message}); nothing is complete`
    : undefined;
}

async function copyOrders(
  output: Output,
  shop: Shop,
  { target, signal, ...flags }: Flags & { target: Target; signal: AbortSignal },
): Promise<Copied> {
  const { format, from, to, state, withPersonalData = false } = flags;
  // The page that is being read when this ends, whatever way, is not asked for again.
  using reading = new DisposableStack();
  const ended = new AbortController();
  reading.defer(() => ended.abort());
  const ask = patiently(output, AbortSignal.any([signal, ended.signal]));
  const orders = await openOrders(shop, { ask, from, to, states: state });
  const encoder = formats[format](withPersonalData ? [...columns, ...personalColumns] : columns);
  // Rows and a bar in one terminal would write over each other.
  const shown = flags.output === undefined && output.out.isTTY ? 0 : orders.total;
  using bar = progress(output, "Exporting", shown, { linesEveryMs: LINES_EVERY_MS });
  let rows = 0;
  let unreadable = 0;
  const named: string[] = [];
  for await (const page of orders.pages()) {
    await orAborted(target.write(encoder.encode(page.records)), signal);
    rows += page.records.length;
    unreadable += page.unreadable.length;
    named.push(...page.unreadable.slice(0, MAX_NAMED - named.length));
    bar.step(page.looked);
  }
  await orAborted(target.write(encoder.end()), signal);
  return { rows, unreadable, named };
}

/** Asks again until {@linkcode PATIENCE_MS} have gone by without an answer, or `signal` aborts. */
function patiently(output: Output, signal: AbortSignal): Ask {
  return async (question) => {
    let failingSince: number | undefined;
    for (;;) {
      try {
        return await orAborted(question(), signal);
      } catch (cause) {
        if (signal.aborted || !isUnavailable(cause)) throw cause;
        if (failingSince === undefined) note(output, "The servers do not answer; trying again");
        failingSince ??= performance.now();
        if (performance.now() - failingSince > PATIENCE_MS) throw cause;
        await pause(ASK_AGAIN_MS, signal);
      }
    }
  };
}

function tellUnreadable(output: Output, { unreadable, named }: Copied): ExitCode {
  for (const text of named) note(output, colour(output, "red", `Left out: ${text}`, output.err));
  if (unreadable > named.length) note(output, `and ${unreadable - named.length} more`);
  return unreadable > 0 ? 1 : 0;
}
