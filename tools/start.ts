import { join } from "node:path";
import { styleText } from "node:util";
import { describeConfig, readConfig } from "./config.ts";
import { faultText, openText } from "./open_text.ts";
import { prepareStreams } from "./prepare.ts";
import { runShop } from "./run.ts";
import { StartError } from "./start_error.ts";
import type { Shop, ShopOptions } from "./supervisor.ts";

const help = `Usage: npm start

Runs the whole shop on this machine: nats-server and one process per service, on loopback only. Ctrl-C drains and
stops it; state stays in DATA_DIR.

Variables:
${describeConfig()}`;

/** Says that the shop is open, and what somebody has set to go wrong in it. */
async function onOpen(shop: Shop): Promise<void> {
  const dataDir = process.env.DATA_DIR && shop.dataDir;
  process.stdout.write(openText(shop, { dataDir }));
  if (process.env.FAULTS === "off") return;
  try {
    // It loads lib/, a quarter of a second's work, for which nobody was to wait.
    const { standingFaults } = await import("./standing_faults.ts");
    const faults = await standingFaults(shop.operator);
    if (faults.size > 0) process.stdout.write(faultText(faults, { dataDir }));
  } catch (cause) {
    report(`cannot see which faults are set: ${(cause as Error).message}`);
  }
}

function report(line: string): void {
  process.stderr.write(`${styleText("dim", line, { stream: process.stderr })}\n`);
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
    const prepare: ShopOptions["prepare"] = (operator, { signal }) =>
      prepareStreams(operator, { seen: join(config.dataDir, "seen.json"), report, signal });
    const options = { ...config, environment: { FAULTS: "on", ...environment }, prepare, report };
    return await runShop(options, onOpen);
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    report(error.message);
    return 1;
  }
}

// A terminal that is closed takes the output away; draining goes on without it.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
process.exit(await main(process.argv.slice(2)));
