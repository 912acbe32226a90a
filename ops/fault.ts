import { type Command, InvalidArgumentError } from "commander";
import { FAULTS, FAULTS_STREAM, faultKinds, readFault, readFaults } from "../lib/mod.ts";
import { commit, newHeaders } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import type { Shop } from "./connect.ts";
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
export function addFault(program: Command, { output, run }: Context): void {
  const group = program
    .command("fault")
    .description(
      "make services fail, to see lag rise, alerts fire and the shop catch up (where FAULTS=on: npm start)",
    )
    .addHelpText("after", `\nFaults:\n${kinds}\n\nServices: ${names.join(", ")}`);
  group
    .command("set")
    .description("in force within a second or two, until it is cleared")
    .argument("<fault...>", "inventory.down, payment.latency=5s, …", readSettings)
    .action((settings: Setting[]) => run((shop) => set(output, shop, settings)));
  group
    .command("clear [name...]")
    .description("clear these, or all")
    .action((cleared: string[]) => run((shop) => clear(output, shop, cleared)));
  group
    .command("list")
    .description("what is set")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) => run((shop) => list(output, shop, flags)));
}

interface Setting {
  name: string;
  /** Empty: none. */
  value: string;
}

function readSettings(text: string, before: Setting[] = []): Setting[] {
  return [...before, readSetting(text)];
}

function readSetting(text: string): Setting {
  const [name = "", ...rest] = text.split("=");
  const value = rest.length === 0 && name.endsWith(".down") ? "on" : rest.join("=");
  try {
    readFault(name, value, names);
  } catch (cause) {
    throw new InvalidArgumentError(`${(cause as RangeError).message}.`);
  }
  return { name, value };
}

async function set(output: Output, shop: Shop, settings: readonly Setting[]): Promise<ExitCode> {
  await write(shop, settings);
  for (const { name, value } of settings) print(output, `${name}=${value}`);
  return 0;
}

async function clear(output: Output, shop: Shop, wanted: readonly string[]): Promise<ExitCode> {
  const there = [...(await readFaults(shop.connection)).keys()];
  const unknown = wanted.filter((name) => !there.includes(name));
  const cleared = wanted.length === 0 ? there : wanted.filter((name) => there.includes(name));
  await write(
    shop,
    cleared.map((name) => ({ name, value: "" })),
  );
  for (const name of cleared) print(output, `${name} cleared`);
  for (const name of unknown) note(output, `${name} is not set`);
  if (there.length === 0 && wanted.length === 0) note(output, "no fault is set");
  return unknown.length > 0 ? 1 : 0;
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
  const entries = settings.map(({ name, value }) => ({
    subject: `$KV.${FAULTS}.${name}`,
    data: Buffer.from(value),
    headers: newHeaders(),
  }));
  const outcome = await commit(connection, FAULTS_STREAM, entries);
  if (outcome.kind !== "committed") throw new Error(`Cannot set a fault: ${JSON.stringify(outcome)}`);
}
