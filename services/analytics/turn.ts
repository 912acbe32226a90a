import type { Client } from "pg";
import { type Log, pause } from "../../nats/mod.ts";

/** Any number that nobody else locks: "shop" as four bytes. */
const LOCK = 0x73686f70;
/** How often a process that stands by looks whether it is its turn. */
const RETRY_MS = 1_000;

/**
 * That one process at a time writes the projection, of those that share a database. An advisory lock of PostgreSQL, which
 * ends with the connection that holds it. It keeps two from setting back each other's consumers; that nothing counts
 * twice does not rest on it but on the positions.
 */
export class PostgresTurn implements AsyncDisposable {
  readonly #connect: () => Client;
  readonly #log: Log;
  #client: Client | undefined;

  constructor(connect: () => Client, log: Log) {
    this.#connect = connect;
    this.#log = log;
  }

  /**
   * Resolves once it is this process's turn: at once while it is.
   * @throws {Error} If the database does not answer, or `signal` aborts.
   */
  async take(signal: AbortSignal): Promise<void> {
    if (this.#client !== undefined) return;
    const client = this.#connect();
    const gone = () => {
      if (this.#client === client) this.#client = undefined;
    };
    client.on("error", gone).on("end", gone);
    await client.connect();
    try {
      for (let waited = 0; ; waited++) {
        const { rows } = await client.query<{ taken: boolean }>("SELECT pg_try_advisory_lock($1) AS taken", [
          LOCK,
        ]);
        if (rows[0]?.taken === true) break;
        if (waited === 0) this.#log.info({}, "standing by: another process writes the projection");
        await pause(RETRY_MS, signal);
        signal.throwIfAborted();
      }
    } catch (cause) {
      await client.end();
      throw cause;
    }
    this.#client = client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.end();
  }
}
