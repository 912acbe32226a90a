import { Worker } from "node:worker_threads";
import type { PGlite, PGliteQueryResults, PGliteTransaction } from "kysely";
import { orAborted } from "../../nats/mod.ts";

/** What the thread is asked. `close` is the last of it. */
export type Question =
  | { readonly id: number; readonly sql: string; readonly parameters: readonly unknown[] }
  | "close";

/** What comes of a statement. */
interface Rows {
  readonly rows: unknown[];
  readonly affectedRows: number;
}

/** What it says: that it can answer, and then something to each question, in their order. */
export type Answer =
  | "opened"
  | ({ readonly id: number } & Rows)
  | { readonly id: number; readonly error: string; readonly code: string | undefined };

/** What PostgreSQL says against a statement. */
export class PGliteError extends Error {
  override name = "PGliteError";
  /** SQLSTATE; undefined where it did not get to the database. */
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.code = code;
  }
}

/**
 * PGlite, PostgreSQL in WebAssembly, in a thread of its own. It computes until it has an answer, for seconds when it makes its
 * database: in the service's own thread nobody would be answered meanwhile, not even NATS.
 *
 * Has what Kysely's dialect wants of a PGlite. What is asked before it is open waits.
 */
export class PGliteThread implements PGlite {
  readonly ready = true;
  readonly waitReady = Promise.resolve();
  readonly #worker: Worker;
  readonly #gone: Promise<void>;
  readonly #asked = new Map<number, PromiseWithResolvers<Rows>>();
  #lastId = 0;
  readonly #opened = Promise.withResolvers<void>();
  #isOpen = false;
  #closed = false;
  #death: Error | undefined;
  /** Resolves when nobody has the database to himself. */
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param dataDir Where the database is, or is to be made.
   * @param fail Told once if the thread ends by itself: nothing is answered from then on.
   */
  constructor({ dataDir, fail }: { dataDir: string; fail?: ((cause: Error) => void) | undefined }) {
    this.#worker = new Worker(new URL("./pglite_worker.ts", import.meta.url), { workerData: { dataDir } });
    this.#worker.on("message", (answer: Answer) => this.#hear(answer));
    this.#worker.on("error", (cause) => {
      this.#death = new Error("PGlite has failed", { cause });
    });
    // Whoever waits for it is told; it may be that nobody does.
    this.#opened.promise.catch(() => undefined);
    this.#gone = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#death ??= new Error("PGlite has ended");
        for (const { reject } of this.#asked.values()) reject(this.#death);
        this.#asked.clear();
        this.#opened.reject(this.#death);
        if (!this.#closed) fail?.(this.#death);
        resolve();
      });
    });
  }

  /**
   * Resolves when the database is there and open.
   * @throws {Error} If the thread ends before, or `signal` aborts.
   */
  opened(signal: AbortSignal): Promise<void> {
    return orAborted(this.#opened.promise, signal);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** @throws {PGliteError} What the database says against it. */
  query<T>(sql: string, parameters: readonly unknown[] = []): Promise<PGliteQueryResults<T>> {
    return this.#inTurn(() => this.#ask<T>(sql, parameters));
  }

  /** Commits if `work` resolves. What others ask meanwhile waits. */
  transaction<T>(work: (transaction: PGliteTransaction) => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      const begun = this.#ask("BEGIN");
      // If it did not begin, whatever is asked in it says so: Kysely waits for `work` to be called.
      begun.catch(() => undefined);
      const query = async <R>(sql: string, parameters?: readonly unknown[]) => {
        await begun;
        return this.#ask<R>(sql, parameters);
      };
      try {
        const result = await work({ query, rollback: async () => void (await query("ROLLBACK")) });
        // Fails where a statement has failed before: a commit would undo the others, and say nothing.
        await query("SELECT 1");
        await query("COMMIT");
        return result;
      } catch (cause) {
        if (this.#death === undefined) await this.#ask("ROLLBACK");
        throw cause;
      }
    });
  }

  /** Ends the thread, once it has answered what it was asked; at once if it has not opened its database yet. */
  async close(): Promise<void> {
    if (this.#closed) return this.#gone;
    this.#closed = true;
    if (this.#isOpen) {
      await this.#turn;
      this.#worker.postMessage("close" satisfies Question);
    } else await this.#worker.terminate();
    await this.#gone;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #ask<T>(sql: string, parameters: readonly unknown[] = []): Promise<PGliteQueryResults<T>> {
    if (this.#death !== undefined) throw this.#death;
    const answered = Promise.withResolvers<Rows>();
    const id = ++this.#lastId;
    this.#asked.set(id, answered);
    this.#worker.postMessage({ id, sql, parameters } satisfies Question);
    const { rows, affectedRows } = await answered.promise;
    return { rows: rows as T[], affectedRows, fields: [] };
  }

  #hear(answer: Answer): void {
    if (answer === "opened") {
      this.#isOpen = true;
      this.#opened.resolve();
      return;
    }
    const asked = this.#asked.get(answer.id);
    this.#asked.delete(answer.id);
    if ("rows" in answer) asked?.resolve(answer);
    else asked?.reject(new PGliteError(answer.error, answer.code));
  }
}
