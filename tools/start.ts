import { randomUUID } from "node:crypto";
import { styleText } from "node:util";
// Not all of lib/, which a supervisor has no use for and which takes a second to load.
import { neverBlock, openLogOutput } from "../lib/log_output.ts";
import { type Access, applyTopology, RefusedError } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import { describeConfig, readConfig } from "./config.ts";
import { exampleOrder } from "./example_order.ts";
import { natsServerName } from "./processes.ts";
import { runShop } from "./run.ts";
import { StartError } from "./start_error.ts";
import type { Shop } from "./supervisor.ts";

const help = `Usage: npm start

Runs the whole shop on this machine: nats-server and one process per service, on loopback only. Ctrl-C drains and
stops it; state stays in DATA_DIR.

Variables:
${describeConfig()}`;

/** Makes streams and consumers; a refusal is for the person who starts the shop to settle. */
async function prepare(operator: Access): Promise<void> {
  try {
    const { changes } = await applyTopology(operator);
    if (changes.length > 0) report(`streams and consumers: ${changes.length} changes made`);
  } catch (cause) {
    if (cause instanceof RefusedError) throw new StartError(cause.message, { cause });
    throw cause;
  }
}

function summary(shop: Shop): string {
  const bold = (text: string) => styleText("bold", text, { stream: process.stdout });
  const names = [...services.map(({ name }) => name), natsServerName];
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const urls = services.map(({ name }) => `  ${name.padEnd(width)}${shop.url(name)}`);
  const orders = `${shop.url("order")}/orders`;
  return `
${bold("The shop is open.")}

${urls.join("\n")}
  ${natsServerName.padEnd(width)}${shop.natsUrl}, monitoring ${shop.url(natsServerName)}
  ${"state".padEnd(width)}${shop.dataDir}

${bold("Place an order:")}

curl -i ${orders} \\
  -H 'Content-Type: application/json' \\
  -H 'Idempotency-Key: ${randomUUID()}' \\
  -d '${JSON.stringify(exampleOrder)}'

${bold("Watch it,")} with the answer's order_id in place of ORDER_ID:

curl -N ${orders}/ORDER_ID/events

Ctrl-C stops.
`;
}

/** Whoever reads along and stalls (Ctrl-S, a pipe) must not keep a service that died from being started again. */
const errors = openLogOutput(process.stderr, {
  onResume: (dropped) => report(`${dropped} lines were dropped: nobody took them`),
});
const FLUSH_MS = 1_000;

function report(line: string): void {
  errors.write(`${styleText("dim", line, { stream: process.stderr })}\n`);
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(help);
    return 0;
  }
  if (args.length > 0) {
    console.error(`Cannot start: unknown argument "${args[0]}"\n\n${help}`);
    return 2;
  }
  try {
    const { environment, ...config } = readConfig();
    const options = { ...config, environment: { FAULTS: "on", ...environment }, prepare, report };
    return await runShop(options, (shop) => process.stdout.write(summary(shop)));
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    report(error.message);
    return 1;
  }
}

// A terminal that is closed takes the output away; draining goes on without it.
neverBlock(process.stdout);
const code = await main(process.argv.slice(2));
await errors.flush({ withinMs: FLUSH_MS });
process.exit(code);
