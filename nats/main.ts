import { parseArgs, styleText } from "node:util";
import { JetStreamApiError, JetStreamError } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { applyTopology, RefusedError, UnreachableError } from "./apply.ts";
import { readTopologyConfig } from "./config.ts";
import { writeCredentials } from "./credential_files.ts";
import { ConfigError } from "./running_shop.ts";

const help = `Makes the streams and consumers of a NATS server what nats/topology.ts says.

Usage: node nats/main.ts [--dry-run]
       node nats/main.ts --credentials <folder>

  --dry-run      only say what would change
  --credentials  talk to no server, and see to it that <folder> holds a credential for each service and the operator,
                 <name>.nk, and authorization.conf, which the servers include; what is there is kept
  --help         this text

Prints one line for each change: "+" is made, "~" is changed. Of a consumer that is made it says what it gets of the
messages that are stored: one with effects begins now, unless the topology says otherwise or it was there before. Changes
nothing when nothing differs, refuses what would lose messages or the position of a consumer, and leaves alone what it
does not know. Ends with 0 if the server is as it should be (or would be, in a dry run), with 1 if not, and with 2 if it
was called in a wrong way.

Environment:
  NATS_URL        comma-separated server URLs; default: those of the shop that npm start runs on DATA_DIR; one is needed
  NATS_NKEY_FILE  seed of the operator's credential; default: the one in DATA_DIR, where there is one
  DATA_DIR        folder of the run that npm start has begun; default .data
  NATS_TLS_CA, NATS_TLS_CERT, NATS_TLS_KEY  PEM files of an encrypted connection
  REPLICAS        copies of each stream: 1, 3 or 5; default 1`;

async function main(args: string[]): Promise<number> {
  let flags: { "dry-run"?: boolean; credentials?: string; help?: boolean };
  try {
    flags = parseArgs({
      args,
      options: { "dry-run": { type: "boolean" }, credentials: { type: "string" }, help: { type: "boolean" } },
    }).values;
  } catch (cause) {
    console.error(`${cause instanceof Error ? cause.message : cause}\n\n${help}`);
    return 2;
  }
  if (flags.help) {
    console.log(help);
    return 0;
  }
  if (flags.credentials !== undefined) {
    const { authorization, operator } = writeCredentials(flags.credentials);
    console.log(`Servers include ${authorization}; the operator's seed is ${operator}`);
    return 0;
  }
  const dryRun = flags["dry-run"] ?? false;
  let how = "";
  try {
    const config = readTopologyConfig();
    how = config.how;
    const { changes, undeclared } = await applyTopology({ ...config, dryRun });
    for (const line of changes) console.log(line);
    for (const what of undeclared) console.log(`note: ${what} is not in the topology, left alone`);
    if (changes.length === 0) console.log("Nothing differs");
    else if (dryRun) console.log("Dry run: nothing was changed");
    return 0;
  } catch (cause) {
    const line = explain(cause, how);
    if (line === undefined) throw cause;
    console.error(styleText("red", line, { stream: process.stderr }));
    return 1;
  }
}

/** One line for what a person can mend; undefined for a bug. @param how Why these servers were asked and no others. */
function explain(cause: unknown, how: string): string | undefined {
  const clear = [ConfigError, RefusedError].some((kind) => cause instanceof kind);
  const lost = Object.values(errors).some((kind) => cause instanceof kind);
  if (!(cause instanceof Error)) return undefined;
  if (cause instanceof UnreachableError) return `${cause.message}; ${how}`;
  if (clear) return cause.message;
  if (cause instanceof JetStreamApiError || cause instanceof JetStreamError) {
    return `Cannot apply the topology: the server says: ${cause.message}`;
  }
  return lost ? `Cannot apply the topology: no answer from NATS (${cause.message})` : undefined;
}

process.exitCode = await main(process.argv.slice(2));
