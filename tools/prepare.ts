import { JetStreamApiError, JetStreamError } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { type Access, applyTopology, counted, pause, RefusedError, UnreachableError } from "../nats/mod.ts";
import { StartError } from "./start_error.ts";
import { guardStore } from "./store_memory.ts";
import { waitForWholeLedgers } from "./whole_ledgers.ts";

interface PrepareOptions {
  /** Where it is noted what was seen of the store (see {@linkcode guardStore}). */
  readonly seen: string;
  readonly report: (line: string) => void;
  /** Aborts when the shop is not to start any more. */
  readonly signal: AbortSignal;
}

/** Between two tries while the server does not answer. */
const againMs = 1_000;

/**
 * Makes streams and consumers, and looks whether the streams are whole and not older than they were. A server that does not answer in time is asked again,
 * with a line about it: it may have much to recover.
 *
 * @throws {StartError} If the server refuses it, which is for the person who starts the shop to settle.
 */
export async function prepareStreams(operator: Access, options: PrepareOptions): Promise<void> {
  const { seen, report, signal } = options;
  for (;;) {
    try {
      const { changes } = await applyTopology(operator);
      if (changes.length > 0) report(`streams and consumers: ${counted(changes.length, "change")} made`);
      await waitForWholeLedgers(operator, { report });
      // Until this process ends.
      await guardStore({ operator, file: seen, report });
      return;
    } catch (cause) {
      signal.throwIfAborted();
      report(`streams and consumers are not ready (${whyLater(cause)}), trying again`);
    }
    await pause(againMs, signal);
    signal.throwIfAborted();
  }
}

/** Why to try again. @throws What makes no sense to be tried again. */
function whyLater(cause: unknown): string {
  if (cause instanceof RefusedError) throw new StartError(cause.message, { cause });
  if (cause instanceof UnreachableError) return cause.message;
  if (cause instanceof JetStreamApiError || cause instanceof JetStreamError) {
    throw new StartError(`Cannot start: nats-server does not make a stream: ${cause.message}`, { cause });
  }
  if (Object.values(errors).some((kind) => cause instanceof kind)) {
    return `no answer from nats-server: ${(cause as Error).message}`;
  }
  throw cause;
}
