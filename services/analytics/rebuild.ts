import type { NatsConnection } from "@nats-io/transport-node";
import { sql } from "kysely";
import {
  backoffMs,
  type Contract,
  type Log,
  MAX_BATCH,
  type Projected,
  type Projector,
  pause,
  type ReadProjectedOptions,
  readPage,
  readProjected,
  type StoredMessage,
  takeEach,
} from "../../nats/mod.ts";
import { asWriter, type Database } from "./database.ts";
import { LIVE, Store } from "./store.ts";
import type { Tables } from "./tables.ts";

/** Where a projection is built beside the one that answers. That it is there means that a rebuild is under way. */
const NEXT = "analytics_next";
/** What answered until it was replaced, until it is removed. */
const OLD = "analytics_old";

export interface RebuildOptions {
  connection: NatsConnection;
  database: Database<Tables>;
  /** What keeps the projection that answers. */
  projector: Pick<Projector, "hold">;
  /** Streams of which something is counted. */
  streams: readonly string[];
  contracts: readonly Contract[];
  snapshots: readonly Contract[];
  readable: ReadProjectedOptions["readable"];
  log: Log;
}

export interface RebuildProgress {
  startedAt: Date;
  /** Messages of all streams that it has read, and that there are; a moment old. */
  read: number;
  total: number;
}

export interface RebuildEnd {
  startedAt: Date;
  endedAt: Date;
  /** Why it has not taken the place of what answers; undefined if it has. */
  refused?: string;
}

/** What was counted must not take the place of what answers. */
class RebuildRefusedError extends Error {
  override name = "RebuildRefusedError";
}

/**
 * Counts everything anew beside the projection that answers, which goes on meanwhile, and then takes its place in one
 * transaction: who asks sees the one or the other, and each of them whole.
 *
 * What is built is as durable as what answers, with positions of its own: a process that is killed goes on where it was. No
 * consumer is involved: the streams are read page by page, by Direct Get.
 */
export class Rebuild implements AsyncDisposable {
  readonly #options: RebuildOptions;
  readonly #contracts: ReadonlyMap<string, Contract>;
  readonly #snapshots: ReadonlySet<string>;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #progress: RebuildProgress | undefined;
  #last: RebuildEnd | undefined;

  constructor(options: RebuildOptions) {
    this.#options = options;
    this.#contracts = new Map(options.contracts.map((contract) => [contract.subject, contract]));
    this.#snapshots = new Set(options.snapshots.map(({ subject }) => subject));
  }

  get progress(): RebuildProgress | undefined {
    return this.#progress;
  }

  /** The one that this process has ended last. */
  get last(): RebuildEnd | undefined {
    return this.#last;
  }

  /** `standing by`: another process writes the projection, and may be rebuilding it. */
  start(): "started" | "under way" | "standing by" {
    if (this.#running !== undefined) return "under way";
    if (!this.#options.database.isWriter) return "standing by";
    this.#running = this.#run({ fresh: true });
    return "started";
  }

  /** Goes on with what a process before this one has not ended, if there is such, once this one is the writer. */
  async resume(): Promise<void> {
    const { database, log } = this.#options;
    const { signal } = this.#stopping;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await database.becomeWriter(signal);
        if (this.#running !== undefined) return;
        await this.#drop(OLD);
        if (!(await this.#exists(NEXT))) return;
        log.info({}, "going on with a rebuild");
        this.#running ??= this.#run({ fresh: false });
        return;
      } catch (cause) {
        if (signal.aborted) return;
        log.info({ err: cause }, "cannot tell whether a rebuild is under way, trying again");
        await pause(backoffMs(failures), signal);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run({ fresh }: { fresh: boolean }): Promise<void> {
    const { log } = this.#options;
    const { signal } = this.#stopping;
    const startedAt = new Date();
    this.#progress = { startedAt, read: 0, total: 0 };
    let emptied = !fresh;
    try {
      for (let failures = 0; ; ) {
        try {
          await this.#options.database.becomeWriter(signal);
          if (!emptied) await this.#drop(NEXT);
          emptied = true;
          await this.#build(() => (failures = 0));
          this.#last = { startedAt, endedAt: new Date() };
          log.info(this.#progress, "the projection is rebuilt");
          return;
        } catch (cause) {
          // The next start goes on with it.
          if (signal.aborted) return;
          if (cause instanceof RebuildRefusedError) {
            this.#last = { startedAt, endedAt: new Date(), refused: cause.message };
            log.error({}, cause.message);
            await this.#drop(NEXT);
            return;
          }
          failures += 1;
          log.warn({ err: cause, failures }, "the rebuild pauses");
          await pause(backoffMs(failures), signal);
        }
      }
    } finally {
      this.#progress = undefined;
      this.#running = undefined;
    }
  }

  async #build(onProgress: () => void): Promise<void> {
    const { database, projector, streams, log } = this.#options;
    const { signal } = this.#stopping;
    const next = new Store(database, { schema: NEXT });
    const positions = new Map(await next.open(signal));
    const state = { next, positions, onProgress };
    // What comes meanwhile is little by then, and read while nothing else is counted.
    while ((await this.#pass(streams, state)) > MAX_BATCH);
    await projector.hold(async () => {
      const live = await new Store(database).positions();
      for (const stream of streams) {
        // A stream that was restored from a backup may end before what was counted of it.
        while (
          (positions.get(stream) ?? 0) < (live.get(stream) ?? 0) &&
          (await this.#page(stream, state)) >= 0
        );
      }
      await this.#assertComplete();
      await this.#swap(await this.#kept(live));
    });
    try {
      await this.#drop(OLD);
    } catch (cause) {
      log.warn({ err: cause }, "what was replaced could not be removed; the next start does");
    }
  }

  /** @throws {RebuildRefusedError} If it has left out more than what answers: messages that could be read before cannot be now. */
  async #assertComplete(): Promise<void> {
    const { writer } = this.#options.database;
    const [next = 0, live = 0] = await Promise.all(
      [NEXT, LIVE].map(async (schema) => {
        const counting = writer
          .withSchema(schema)
          .selectFrom("parked")
          .select(({ fn }) => fn.countAll<number>().as("count"));
        return (await counting.executeTakeFirstOrThrow()).count;
      }),
    );
    if (next <= live) return;
    throw new RebuildRefusedError(
      `The rebuild has left out ${next} messages that cannot be read, and what answers has left out ${live}; it does not take ` +
        "its place. The log names them; has the registry lost schemas?",
    );
  }

  /**
   * Positions in streams of which nothing is counted: in dead letters, which were counted with the messages that they bring back.
   * Not in a stream that has not got so far, which is an older one: its letters may come again.
   */
  async #kept(live: ReadonlyMap<string, number>): Promise<ReadonlyMap<string, number>> {
    const { connection, streams } = this.#options;
    const others = [...live].filter(([stream, position]) => position > 0 && !streams.includes(stream));
    const found = others.map(async ([stream, position]): Promise<[string, number][]> => {
      const { messages } = await readPage(connection, stream, { from: position, limit: 1 });
      return messages.length === 0 ? [] : [[stream, position]];
    });
    return new Map((await Promise.all(found)).flat());
  }

  /** One page of each stream after the other. @returns How many messages there are still to read, at least. */
  async #pass(streams: readonly string[], state: Building): Promise<number> {
    let left = 0;
    let read = 0;
    for (const stream of streams) {
      left += Math.max(0, await this.#page(stream, state));
      read += state.positions.get(stream) ?? 0;
    }
    if (this.#progress !== undefined) Object.assign(this.#progress, { read, total: read + left });
    return left;
  }

  /** @returns How many messages of the stream there are behind the page; -1 if it is empty. */
  async #page(stream: string, { next, positions, onProgress }: Building): Promise<number> {
    this.#stopping.signal.throwIfAborted();
    const from = positions.get(stream) ?? 0;
    const { messages: page, pending } = await readPage(this.#options.connection, stream, { from: from + 1 });
    const last = page.at(-1);
    if (last === undefined) return -1;
    const batch = next.begin();
    await takeEach(page, this.#snapshots, async (message) => {
      const read = await this.#read(stream, message);
      if (read === "unreadable") batch.park({ stream, seq: message.seq });
      else if (read !== undefined) batch.add(read);
      return read !== "unreadable";
    });
    await batch.store(new Map([[stream, { from, to: last.seq, storedAt: new Date(last.timeMs) }]]));
    positions.set(stream, last.seq);
    onProgress();
    return pending;
  }

  async #read(stream: string, message: StoredMessage): Promise<Projected | "unreadable" | undefined> {
    const { subject, seq, timeMs } = message;
    const { readable, log } = this.#options;
    const read = await readProjected(message, { contracts: this.#contracts, readable });
    if (read.kind === "skipped") return undefined;
    if (read.kind === "unreadable") {
      log.warn({ stream, seq, subject, error: read.error }, "left out of the rebuild");
      return "unreadable";
    }
    const { contract, id, value } = read;
    return { contract, id, value, stream, seq, storedAt: new Date(timeMs), redriven: false };
  }

  /**
   * Who answers holds a lock on the positions meanwhile (see `answer()`), so that no answer is of both.
   * @param kept Positions that hold for what takes its place as well.
   */
  async #swap(kept: ReadonlyMap<string, number>): Promise<void> {
    const { database } = this.#options;
    await this.#drop(OLD);
    await asWriter(database, async (transaction) => {
      await sql`LOCK TABLE ${sql.table(`${LIVE}.positions`)} IN ACCESS EXCLUSIVE MODE`.execute(transaction);
      for (const [stream, position] of kept) {
        const next = transaction.withSchema(NEXT).updateTable("positions").set({ position });
        await next.where("stream", "=", stream).execute();
      }
      await sql`ALTER SCHEMA ${sql.id(LIVE)} RENAME TO ${sql.id(OLD)}`.execute(transaction);
      await sql`ALTER SCHEMA ${sql.id(NEXT)} RENAME TO ${sql.id(LIVE)}`.execute(transaction);
    });
  }

  async #drop(schema: string): Promise<void> {
    await asWriter(this.#options.database, (transaction) =>
      transaction.schema.dropSchema(schema).ifExists().cascade().execute(),
    );
  }

  async #exists(schema: string): Promise<boolean> {
    const { writer } = this.#options.database;
    const found = await sql`SELECT 1 FROM pg_namespace WHERE nspname = ${schema}`.execute(writer);
    return found.rows.length > 0;
  }
}

interface Building {
  readonly next: Store;
  readonly positions: Map<string, number>;
  readonly onProgress: () => void;
}
