import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { type Access, accessOptions, olderText, type Seen, StoreMemory, topology } from "../nats/mod.ts";
import { StartError } from "./start_error.ts";

/** A kill loses what was seen since the last look, and an older store is still noticed by what was seen before. */
const LOOK_EVERY_MS = 5_000;
const LOOK_AGAIN_MS = 1_000;
const streams = topology.streams.map(({ name }) => name);

export interface GuardStoreOptions {
  readonly operator: Access;
  /** Where it is noted what was seen: outside the store. */
  readonly file: string;
  readonly report: (line: string) => void;
}

/**
 * Remembers, in a file outside the store, up to where the streams were seen. A store that was restored from a backup is older
 * than that. Then this says so and what to do, and resolves once a person has accepted it: services would repeat what has an
 * effect outside the shop. Goes on looking until it is disposed of.
 *
 * @throws {StartError} If the file cannot be read.
 * @throws {Error} If the servers do not answer.
 */
export async function guardStore({ operator, file, report }: GuardStoreOptions): Promise<AsyncDisposable> {
  const remembered = read(file);
  const connection = await connect({
    ...accessOptions(operator),
    name: "supervisor",
    maxReconnectAttempts: -1,
  });
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  const memory = new StoreMemory({ connection, jsm }, streams, remembered);
  let told = false;
  const agrees = async (consequence = "") => {
    const older = await memory.look();
    if (older.length > 0 && !told) report(`${consequence}${olderText(older)}`);
    told = older.length > 0;
    if (!told) write(file, memory.remembered);
    return !told;
  };
  try {
    while (!(await agrees("no service is started: "))) await sleep(LOOK_AGAIN_MS);
  } catch (cause) {
    await connection.close();
    throw cause;
  }
  // That the servers do not answer is said by all who need them.
  const timer = setInterval(() => void agrees().catch(() => undefined), LOOK_EVERY_MS).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await connection.close();
    },
  };
}

/** @throws {StartError} If the file is damaged: nobody can tell then whether the store is older. */
function read(file: string): readonly Seen[] {
  if (!existsSync(file)) return [];
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Seen[];
  } catch (cause) {
    throw new StartError(
      `Cannot read ${file}, which says what was seen of the store: ${(cause as Error).message}; ` +
        "remove it if the store was not restored from a backup",
      { cause },
    );
  }
}

/** Whole or not at all: half a file would be no memory. */
function write(file: string, remembered: readonly Seen[]): void {
  writeFileSync(`${file}.new`, JSON.stringify(remembered), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
