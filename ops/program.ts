import { JetStreamApiError, JetStreamError } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { Command, CommanderError } from "commander";
import { ConfigError, ReplayError, type ReplayTimes, UnreadableMarkError } from "../nats/mod.ts";
import { addCatalog } from "./catalog.ts";
import { type Environment, type OpsConfig, readOpsConfig, variables } from "./config.ts";
import { connectShop, type Shop, UnreachableError } from "./connect.ts";
import { addDeadLetters } from "./dead_letters.ts";
import { addExport } from "./export.ts";
import { addFault } from "./fault.ts";
import { addLag } from "./lag.ts";
import { addLedgers } from "./ledgers.ts";
import { addOrder } from "./order.ts";
import { addOrders } from "./orders.ts";
import { colour, type ExitCode, lossOf, note, type Output, outliveReaders } from "./output.ts";
import { addReconcile } from "./reconcile.ts";
import { addReplay } from "./replay.ts";
import { addRestored } from "./restored.ts";
import { addSchema } from "./schema.ts";
import { addTraffic } from "./traffic.ts";

/** What a command works with. */
export interface Context {
  readonly config: OpsConfig;
  readonly output: Output;
  /** Connects, does `work`, and ends with what it says. */
  run(work: (shop: Shop) => Promise<ExitCode>): Promise<void>;
  /** From now on Ctrl-C, and being asked to end in another way, ends no more than what listens to this. */
  interrupted(): AbortSignal;
  /** How long a replay takes, where tests set less than the defaults. */
  readonly replayTimes?: ReplayTimes | undefined;
}

/** Runs one command line and says how it ended. Throws for bugs only. */
export async function runOps(
  args: readonly string[],
  options: {
    output: Output;
    environment?: Environment;
    interrupted?: () => AbortSignal;
    replayTimes?: ReplayTimes;
  },
): Promise<ExitCode> {
  const { output, interrupted = onInterrupt, replayTimes } = options;
  let code: ExitCode = 0;
  outliveReaders(output);
  let config: OpsConfig;
  try {
    config = readOpsConfig(options.environment);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    note(output, cause.message);
    return 2;
  }
  const context: Context = {
    config,
    output,
    interrupted,
    replayTimes,
    async run(work) {
      await using shop = await connectShop(config);
      code = await work(shop);
    },
  };
  const program = new Command("ops")
    .usage("<command>")
    .description("What an operator of the shop does: npm run ops -- <command>")
    .addHelpText(
      "after",
      `\n${variables}\n\nEnds with 0 if all is well, with 1 if something failed or is wrong, with 2 if it was called wrongly.
A reader that goes away (| head) ends nothing: the command goes on, quietly, and ends with what it comes to.`,
    )
    .showHelpAfterError("(--help says how)")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void output.out.write(text),
      writeErr: (text) => void output.err.write(text),
    });
  addCatalog(program, context);
  addDeadLetters(program, context);
  addExport(program, context);
  addFault(program, context);
  addLag(program, context);
  addLedgers(program, context);
  addOrder(program, context);
  addOrders(program, context);
  addReconcile(program, context);
  addReplay(program, context);
  addRestored(program, context);
  addSchema(program, context);
  addTraffic(program, context);
  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (cause) {
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? 0 : 2;
    const line = explain(cause);
    if (line === undefined) throw cause;
    note(output, colour(output, "red", line, output.err));
    return 1;
  }
  const loss = code === 0 ? lossOf(output) : undefined;
  if (loss === undefined) return code;
  note(output, colour(output, "red", loss, output.err));
  return 1;
}

function onInterrupt(): AbortSignal {
  const interrupt = new AbortController();
  // Not just once: where npm runs this, it hands on the signal that the terminal has sent as well.
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => interrupt.abort());
  return interrupt.signal;
}

/** One line for what a person can mend; undefined for a bug. */
function explain(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  if (
    cause instanceof UnreachableError ||
    cause instanceof ConfigError ||
    cause instanceof ReplayError ||
    cause instanceof UnreadableMarkError
  ) {
    return cause.message;
  }
  if (cause instanceof JetStreamApiError || cause instanceof JetStreamError) {
    return `Cannot go on: the server says: ${cause.message}`;
  }
  const lost = Object.values(errors).some((kind) => cause instanceof kind);
  return lost ? `Cannot go on: no answer from NATS (${cause.message}); doing it again is safe` : undefined;
}
