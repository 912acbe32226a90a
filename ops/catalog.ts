import { type Command, Option } from "commander";
import { topology } from "../nats/mod.ts";
import { asyncApi, latestMessages } from "./asyncapi.ts";
import {
  type Catalog,
  type CatalogEntry,
  contractsOf,
  type EventConsumer,
  readCatalog,
} from "./catalog_entries.ts";
import type { Shop } from "./connect.ts";
import {
  colour,
  columns,
  type ExitCode,
  LINE_WIDTH,
  note,
  type Output,
  print,
  printJson,
  shorten,
} from "./output.ts";
import type { Context } from "./program.ts";

interface Flags {
  json?: boolean;
  asyncapi?: boolean;
  check?: boolean;
}

/** `catalog`: who stores, and who takes, each event. */
export function addCatalog(program: Command, context: Context): void {
  program
    .command("catalog [subject...]")
    .description("who consumes what: each event's schema, producer, consumers and their lag")
    .addOption(new Option("--json", "print JSON").conflicts("asyncapi"))
    .option("--asyncapi", "print an AsyncAPI 3 document")
    .option("--check", "end with 1 if the server's consumers are not those of the topology")
    .addHelpText(
      "after",
      "\nA subject is one without its id, such as order.created, or a stream's first word, such as order.",
    )
    .action((subjects: string[], flags: Flags, command: Command) => {
      const all = contractsOf(topology);
      for (const wanted of subjects) {
        if (!all.some(({ subject }) => isOf(subject, wanted))) {
          command.error(`error: there is no event of the subject ${JSON.stringify(wanted)}`);
        }
      }
      const contracts = all.filter(({ subject }) => subjects.some((wanted) => isOf(subject, wanted)));
      return context.run(async (shop) => {
        const catalog = await readCatalog(shop.jsm, subjects.length > 0 ? { contracts } : {});
        return show(context, shop, { catalog, flags });
      });
    });
}

function isOf(subject: string, wanted: string): boolean {
  return subject === wanted || subject.startsWith(`${wanted}.`);
}

async function show(
  { output, config }: Context,
  shop: Shop,
  { catalog, flags }: { catalog: Catalog; flags: Flags },
): Promise<ExitCode> {
  const { entries, differences } = catalog;
  if (flags.asyncapi) {
    const messages = await latestMessages(shop.connection, entries);
    printJson(output, asyncApi(entries, { servers: config.servers, messages }));
  } else if (flags.json) printJson(output, catalogJson(catalog));
  else if (!flags.check) printTable(output, entries);

  // They are what --check prints, and else about what is printed.
  const toOut = flags.check === true && !flags.asyncapi && !flags.json;
  for (const { text } of differences) {
    const line = colour(output, "red", text, toOut ? output.out : output.err);
    if (toOut) print(output, line);
    else note(output, line);
  }
  if (flags.check && differences.length === 0)
    note(output, "The server's consumers are those of the topology");
  return flags.check && differences.length > 0 ? 1 : 0;
}

/** The whole catalogue, as `--json` prints it. */
export function catalogJson({ entries, differences }: Catalog) {
  return {
    events: entries.map((entry) => ({
      subject: entry.contract.subject,
      address: entry.address,
      ...(entry.meaning !== undefined && { meaning: entry.meaning }),
      message: entry.contract.schema.typeName,
      stream: entry.stream,
      producer: entry.producer ?? null,
      schema: entry.schema ? { subject: entry.contract.subject, ...entry.schema } : null,
      versions_seen: entry.versionsSeen,
      other_schemas: entry.otherSchemas.map((id) => (id === 0 ? null : id)),
      consumers: entry.consumers.map(({ service, lag, consumerLag, declared, missing }) => ({
        service,
        lag: lag ?? null,
        consumer_lag: consumerLag ?? null,
        declared,
        missing,
      })),
      views: entry.views,
      last_seen: entry.lastSeen
        ? { sequence: entry.lastSeen.seq, time: entry.lastSeen.time.toISOString() }
        : null,
    })),
    differences,
  };
}

const heads = ["EVENT", "PRODUCER", "SCHEMA", "SEEN", "CONSUMER", "LAG", "LAST MESSAGE"];
const CONSUMER = heads.indexOf("CONSUMER");

/** A line for each consumer of an event, or one for an event that has none. */
function printTable(output: Output, entries: readonly CatalogEntry[]): void {
  const rows = entries.flatMap((entry) => {
    const consumers = entry.consumers.length > 0 ? entry.consumers : [undefined];
    return consumers.map((consumer, index) => ({ consumer, cells: cellsOf(entry, consumer, index === 0) }));
  });
  const cells = fit([heads, ...rows.map((row) => row.cells)]);
  for (const [index, line] of columns(cells).entries()) {
    const consumer = rows[index - 1]?.consumer;
    const format = index === 0 ? "bold" : formatOf(consumer);
    const text = shorten(line);
    print(output, format === undefined ? text : colour(output, format, text));
  }
  const views = Map.groupBy(
    entries.flatMap(({ views, stream }) => views.map((service) => ({ service, stream }))),
    ({ service }) => service,
  );
  for (const [service, viewed] of views) {
    note(output, `${service} also looks into ${[...new Set(viewed.map(({ stream }) => stream))].join(", ")}`);
  }
}

function cellsOf(entry: CatalogEntry, consumer: EventConsumer | undefined, first: boolean): string[] {
  const { contract, producer = "", schema, versionsSeen, lastSeen } = entry;
  const own = [
    contract.subject,
    producer,
    schema ? `${schema.id} v${schema.version}` : "none",
    versionsSeen.map((version) => `v${version}`).join(" ") || "-",
  ];
  return [
    ...(first ? own : own.map(() => "")),
    consumer?.service ?? "-",
    consumer ? standing(consumer) : "",
    first ? (lastSeen?.time.toISOString().slice(0, 16).replace("T", " ") ?? "-") : "",
  ];
}

function standing({ lag, declared, missing }: EventConsumer): string {
  if (missing) return "missing";
  return declared ? `${lag}` : `${lag}, undeclared`;
}

function formatOf(consumer: EventConsumer | undefined): "red" | "yellow" | undefined {
  if (consumer === undefined) return undefined;
  if (consumer.missing || !consumer.declared) return "red";
  return (consumer.lag ?? 0) > 0 ? "yellow" : undefined;
}

/** Names of consumers are cut as far as a line would be too long: a server lets them have any length. */
function fit(rows: readonly string[][]): string[][] {
  const over = Math.max(...columns(rows).map((line) => line.length)) - LINE_WIDTH;
  if (over <= 0) return [...rows];
  const widest = Math.max(...rows.map((row) => row[CONSUMER]?.length ?? 0));
  const room = Math.max(widest - over, MIN_NAME);
  return rows.map((row) =>
    row.map((cell, index) =>
      index === CONSUMER && cell.length > room ? `${cell.slice(0, room - 1)}…` : cell,
    ),
  );
}

/** "notification" is to be read in full. */
const MIN_NAME = 12;
