import type { Client } from "pg";
import { type Log, pause } from "../../nats/mod.ts";

/** Any number that nobody else locks: "shop" as four bytes. */
const LOCK = 0x73686f70;
/** How often a process that stands by looks whether the writer is gone. */
const RETRY_MS = 1_000;

/**
 * That one process at a time writes the projection, of those that share a database. An advisory lock of PostgreSQL, which
 * ends with the connection that holds it. It keeps two from setting back each other's consumers; that nothing counts
 * twice does not rest on it but on the positions.
 */
export class WriterLock implements AsyncDisposable {
  readonly #connect: () => Client;
  readonly #log: Log;
  #client: Client | undefined;
  #taking: Promise<void> | undefined;

  /** @param connect Makes a client that is not connected yet. */
  constructor(connect: () => Client, log: Log) {
    this.#connect = connect;
    this.#log = log;
  }

  get held(): boolean {
    return this.#client !== undefined;
  }

  /**
   * Resolves once this process holds it: at once while it does, and for all who wait at the same time.
   * @throws {Error} If the database does not answer, or `signal` aborts.
   */
  async take(signal: AbortSignal): Promise<void> {
    if (this.held) return;
    this.#taking ??= this.#take(signal).finally(() => {
      this.#taking = undefined;
    });
    await this.#taking;
  }

  async #take(signal: AbortSignal): Promise<void> {
    const client = this.#connect();
    let gone = false;
    const end = () => {
      gone = true;
      if (this.#client === client) this.#client = undefined;
    };
    client.on("error", end).on("end", end);
    try {
      await client.connect();
      for (let tries = 1; ; tries++) {
        signal.throwIfAborted();
        const asked = await client.query<{ taken: boolean }>("SELECT pg_try_advisory_lock($1) AS taken", [
          LOCK,
        ]);
        if (asked.rows[0]?.taken === true) break;
        if (tries === 1) this.#log.info({}, "standing by: another process writes the projection");
        await pause(RETRY_MS, signal);
      }
      if (gone) throw new Error("Cannot write the projection: the connection that locks it was lost");
      this.#client = client;
    } catch (cause) {
      // Whatever ends it, the lock is gone with it.
      void client.end();
      throw cause;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.end();
  }
}
