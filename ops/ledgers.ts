import { type Command, InvalidArgumentError } from "commander";
import {
  findTornBatch,
  inspectTornBatch,
  type Ledgered,
  ledgersOf,
  orMissing,
  removeTornBatch,
  type TornBatch,
  topology,
  tornText,
} from "../nats/mod.ts";
import type { Shop } from "./connect.ts";
import { colour, columns, type ExitCode, note, type Output, print, printJson, shorten } from "./output.ts";
import type { Context } from "./program.ts";

interface RepairFlags {
  dryRun?: boolean;
  force?: boolean;
  json?: boolean;
}

/** `ledgers`, `ledgers repair`. */
export function addLedgers(program: Command, { output, run }: Context): void {
  const group = program
    .command("ledgers")
    .description("the streams, and whether each of them ends in a whole commit")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) => run((shop) => show(output, shop, flags)));

  group
    .command("repair")
    .argument("<stream>", "as `ledgers` lists it", ledgerNamed)
    .description(
      "remove the half of a commit that a stream ends in; what it was decided about is decided again",
    )
    .option("--dry-run", "only say what would be removed")
    .option("--force", "remove it although a consumer was given some of it")
    .option("--json", "print JSON")
    .action((ledger: Ledgered, _flags: RepairFlags, command: Command) =>
      run((shop) => repair(output, shop, ledger, command.optsWithGlobals<RepairFlags>())),
    );
}

function ledgerNamed(name: string): Ledgered {
  const ledgers = ledgersOf(topology);
  const found = ledgers.find(({ stream }) => stream === name);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(
    `there is no stream "${name}": ${ledgers.map(({ stream }) => stream).join(", ")}`,
  );
}

async function show(
  output: Output,
  { connection, jsm }: Shop,
  { json }: { json?: boolean },
): Promise<ExitCode> {
  const rows = await Promise.all(
    ledgersOf(topology).map(async (ledger) => {
      const info = await orMissing(jsm.streams.info(ledger.stream));
      const torn = info && (await findTornBatch(connection, ledger));
      return { stream: ledger.stream, messages: info?.state.messages, last: info?.state.last_seq, torn };
    }),
  );
  if (json) {
    printJson(output, rows);
  } else {
    const end = ({ messages, torn }: (typeof rows)[number]) => {
      if (messages === undefined) return colour(output, "red", "the stream is missing: apply the topology");
      if (torn === undefined) return "whole";
      return colour(output, "red", `half a commit: messages ${torn.from} to ${torn.to}`);
    };
    const cells = rows.map((row) => [row.stream, `${row.messages ?? "-"}`, `${row.last ?? "-"}`, end(row)]);
    for (const line of columns([["STREAM", "MESSAGES", "LAST", "END"], ...cells])) print(output, line);
    const torn = rows.filter((row) => row.torn !== undefined);
    for (const { stream } of torn)
      note(output, `To mend it: npm run ops -- ledgers repair ${stream} --dry-run`);
  }
  return rows.every(({ messages, torn }) => messages !== undefined && torn === undefined) ? 0 : 1;
}

async function repair(
  output: Output,
  shop: Shop,
  ledger: Ledgered,
  { dryRun, force, json }: RepairFlags,
): Promise<ExitCode> {
  const torn = await findTornBatch(shop.connection, ledger);
  if (torn === undefined) {
    if (json) printJson(output, { stream: ledger.stream, torn: false, removed: 0 });
    else note(output, `${ledger.stream} ends in a whole commit; nothing is removed`);
    return 0;
  }
  const details = await inspectTornBatch(shop, torn);
  const refused = details.deliveredTo.length > 0 && force !== true;
  const removed = dryRun || refused ? 0 : await removeTornBatch(shop.jsm, torn, details);
  if (json) printJson(output, { ...torn, torn: true, ...details, removed });
  else tell(output, torn, { ...details, refused, removed, dryRun: dryRun === true });
  return refused ? 1 : 0;
}

function tell(
  output: Output,
  torn: TornBatch,
  found: Awaited<ReturnType<typeof inspectTornBatch>> & {
    refused: boolean;
    removed: number;
    dryRun: boolean;
  },
): void {
  const { messages, deliveredTo, refused, removed, dryRun } = found;
  note(output, tornText(torn));
  for (const { seq, subject } of messages) print(output, shorten(`${seq}  ${subject}`));
  if (deliveredTo.length > 0) {
    note(
      output,
      `${deliveredTo.join(", ")} was given some of it and may have acted on it. ` +
        "Removed all the same, it is decided again, and may be decided differently: reconcile afterwards",
    );
  }
  if (refused) note(output, colour(output, "red", "nothing is removed; --force removes it", output.err));
  else if (dryRun) note(output, `would remove ${messages.length} messages`);
  else note(output, colour(output, "green", `removed ${removed} messages; the service goes on`, output.err));
}
