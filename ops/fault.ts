import { type Command, InvalidArgumentError } from "commander";
import {
  FAULTS,
  FAULTS_STREAM,
  type Fault,
  type FaultKind,
  faultKinds,
  readFault,
  readFaults,
} from "../lib/mod.ts";
import { commit, newHeaders } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import type { Shop } from "./connect.ts";
import { untilHeeded } from "./fault_heeded.ts";
import { columns, type ExitCode, note, type Output, print, printJson } from "./output.ts";
import type { Context } from "./program.ts";

const names = services.map(({ name }) => name);

const kinds = columns(
  Object.entries(faultKinds).map(([kind, { what, example, ...spec }]) => {
    const service = "only" in spec ? spec.only : "<service>";
    return [`  ${service}.${kind}=${example}`, what];
  }),
).join("\n");

/** `fault set|clear|list`: makes services fail, for demonstrations. */
export function addFault(program: Command, { output, run, config }: Context): void {
  const { urlOf } = config;
  const group = program
    .command("fault")
    .description(
      "make services fail, to see lag rise, alerts fire and the shop catch up (where FAULTS=on: npm start)",
    )
    .addHelpText("after", `\nFaults:\n${kinds}\n\nServices: ${names.join(", ")}`);
  group
    .command("set")
    .description(
      "in force when this returns, until it is cleared; ends with 1 if a service has not said that it heeds it",
    )
    .argument("<fault...>", "inventory.down, payment.latency=5s, …", readSettings)
    .action((settings: Setting[]) => run((shop) => set(output, shop, { settings, urlOf })));
  group
    .command("clear [name...]")
    .description("clear these, or all")
    .action((cleared: string[]) => run((shop) => clear(output, shop, { wanted: cleared, urlOf })));
  group
    .command("list")
    .description("what is set")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) => run((shop) => list(output, shop, flags)));
}

interface Setting {
  readonly name: string;
  /** As it is stored. Empty: none. */
  readonly text: string;
  /** What it means; its value is 0 for none. */
  readonly fault: Fault;
}

/** Base URL of a service. */
type UrlOf = (service: string) => string;

function readSettings(text: string, before: Setting[] = []): Setting[] {
  return [...before, readSetting(text)];
}

function readSetting(text: string): Setting {
  const [name = "", ...rest] = text.split("=");
  const value = rest.length === 0 && name.endsWith(".down") ? "on" : rest.join("=");
  try {
    return { name, text: value, fault: readFault(name, value, names) };
  } catch (cause) {
    throw new InvalidArgumentError(`${(cause as RangeError).message}.`);
  }
}

async function set(
  output: Output,
  shop: Shop,
  { settings, urlOf }: { settings: readonly Setting[]; urlOf: UrlOf },
): Promise<ExitCode> {
  await write(shop, settings);
  for (const { name, text } of settings) print(output, `${name}=${text}`);
  return heeded(output, settings, urlOf);
}

async function clear(
  output: Output,
  shop: Shop,
  { wanted, urlOf }: { wanted: readonly string[]; urlOf: UrlOf },
): Promise<ExitCode> {
  const there = [...(await readFaults(shop.connection)).keys()];
  const unknown = wanted.filter((name) => !there.includes(name));
  const cleared = wanted.length === 0 ? there : wanted.filter((name) => there.includes(name));
  const settings = cleared.map((name) => ({ name, text: "", fault: none(name) }));
  await write(shop, settings);
  for (const name of cleared) print(output, `${name} cleared`);
  for (const name of unknown) note(output, `${name} is not set`);
  if (there.length === 0 && wanted.length === 0) note(output, "no fault is set");
  const code = await heeded(output, settings, urlOf);
  return unknown.length > 0 ? 1 : code;
}

/** What is stored is in force once the services have read it. */
async function heeded(output: Output, settings: readonly Setting[], urlOf: UrlOf): Promise<ExitCode> {
  // Somebody else may have stored a fault of a service that there is not: nobody can be asked about it.
  const faults = settings.map(({ fault }) => fault).filter(({ service }) => names.includes(service));
  const problems = await untilHeeded(faults, urlOf);
  for (const problem of problems) note(output, problem);
  return problems.length > 0 ? 1 : 0;
}

/** The fault of that name, not set. */
function none(name: string): Fault {
  const [service = "", kind = ""] = name.split(".");
  return { service, kind: kind as FaultKind, value: 0 };
}

async function list(output: Output, { connection }: Shop, { json }: { json?: boolean }): Promise<ExitCode> {
  const faults = [...(await readFaults(connection))].sort();
  if (json) printJson(output, { faults: Object.fromEntries(faults) });
  else for (const [name, value] of faults) print(output, `${name}=${value}`);
  if (faults.length === 0) note(output, "no fault is set");
  return 0;
}

/** One batch: all or none. */
async function write({ connection }: Shop, settings: readonly Setting[]): Promise<void> {
  if (settings.length === 0) return;
  const entries = settings.map(({ name, text }) => ({
    subject: `$KV.${FAULTS}.${name}`,
    data: Buffer.from(text),
    headers: newHeaders(),
  }));
  const outcome = await commit(connection, FAULTS_STREAM, entries);
  if (outcome.kind !== "committed") throw new Error(`Cannot set a fault: ${JSON.stringify(outcome)}`);
}
