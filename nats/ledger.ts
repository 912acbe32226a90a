import { setTimeout as sleep } from "node:timers/promises";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { Batch, type Sender } from "./batch.ts";
import { type CommitOutcome, commit } from "./commit.ts";
import type { Log } from "./connection.ts";
import { type Contract, type Key, type Outgoing, subjectOf } from "./contracts/mod.ts";
import { readLast } from "./read.ts";
import type { TraceContext } from "./trace.ts";

/** The state that a decision is made on: the last message of each key that the task named. */
export interface View {
  /**
   * The state of one entity, undefined if there is none yet. Never to be mutated.
   * @throws {ReferenceError} If the task did not name this key: it may not have been read.
   */
  get<S extends DescMessage>(contract: Contract<S>, id: string): MessageShape<S> | undefined;
}

/** What a task wants stored, all or none, and what it tells its caller once that is so. */
export interface Decision<T> {
  /** At least one of them writes a key of the task, or there are none: an unguarded write could happen twice. */
  messages: readonly Outgoing[];
  result: T;
}

export interface Task<T> {
  /** What `decide` reads and writes. */
  keys: readonly Key[];
  /**
   * Pure, quick, and idempotent by meaning: it may be called several times for one task, each time with newer
   * state, and that state may already show the effect of this very task.
   */
  decide(view: View): Decision<T>;
  trace: TraceContext;
}

export interface LedgerOptions extends Sender {
  /** The stream that this service, and nobody else, writes. */
  stream: string;
  log: Log;
  /** Told of every attempt to commit, for metrics. */
  onCommit?: (attempt: {
    outcome: CommitOutcome["kind"];
    messages: number;
    decisions: number;
    ms: number;
  }) => void;
}

/** The task was not carried out in time. Whether it is stored is unknown; carrying it out again is safe. */
export class LedgerTimeoutError extends Error {
  override name = "LedgerTimeoutError";
}

/** The ledger has {@linkcode MAX_WAITING} tasks waiting, or is closing. Nothing of this task is stored. */
export class LedgerBusyError extends Error {
  override name = "LedgerBusyError";
}

/** Tasks that may wait for a commit. Consumers are bounded by `max_ack_pending`; this bounds HTTP. */
export const MAX_WAITING = 20_000;
/** States kept in memory, a few kilobytes each. */
const MAX_CACHED = 10_000;
/** A cached state that is not written under guard may be this old at most, where several instances share a ledger. */
const MAX_CACHE_AGE_MS = 5_000;
const MAX_BACKOFF_MS = 2_000;
const NEVER = Number.NEGATIVE_INFINITY;

interface Cached {
  seq: number;
  value: MessageShape<DescMessage> | undefined;
  /** When the read that gave it began, or the commit that wrote it ended; `performance.now()`. */
  at: number;
}

interface Job {
  task: Task<unknown>;
  since: number;
  /** Settled, by whichever comes first: commit, failure, or the caller's signal. */
  done: boolean;
  resolve(result: unknown): void;
  reject(cause: unknown): void;
}

/**
 * The stream of one service as its memory: tasks read the last messages of their keys, decide, and what they decide
 * is stored as one atomic batch.
 *
 * Group commit: one commit is in flight at a time, and all tasks that become ready meanwhile, from HTTP and from every
 * consumer, are decided one after the other and stored by the next one. The commit in flight is the only timer: at low
 * load a task waits for nobody, at high load hundreds share one write.
 *
 * Every write of a key is guarded by the sequence that its state was read at, so that a decision on stale state (another
 * instance, a late answer) is never stored: it is made again on what the leader has. A decision that writes nothing has no
 * guard to protect it and is confirmed by a read from the leader instead.
 *
 * Tasks on the same key are decided in the order in which they came, except around a conflict.
 */
export class Ledger implements AsyncDisposable {
  readonly stream: string;
  readonly #connection: NatsConnection;
  readonly #jsm: JetStreamManager;
  readonly #options: LedgerOptions;
  readonly #cache = new Map<string, Cached>();
  readonly #loading = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  #waiting = 0;
  #ready: Job[] = [];
  #pumping: Promise<void> | undefined;

  constructor(connection: NatsConnection, jsm: JetStreamManager, options: LedgerOptions) {
    this.stream = options.stream;
    this.#connection = connection;
    this.#jsm = jsm;
    this.#options = options;
  }

  /**
   * Carries out `task` and resolves with its result once all its messages are stored, or at once if there are none.
   *
   * @throws Whatever `task.decide` throws; then nothing of the task is stored.
   * @throws {LedgerTimeoutError} If `signal` aborts first.
   * @throws {LedgerBusyError} If too many tasks wait, or the ledger is closing.
   */
  execute<T>(task: Task<T>, options: { signal?: AbortSignal } = {}): Promise<T> {
    if (this.#closing.signal.aborted) {
      return Promise.reject(new LedgerBusyError(`Cannot write to ${this.stream}: it is closing`));
    }
    if (this.#waiting >= MAX_WAITING) {
      return Promise.reject(
        new LedgerBusyError(`Cannot write to ${this.stream}: ${MAX_WAITING} tasks are waiting`),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting += 1;
    const settle = (deliver: () => void) => {
      if (job.done) return;
      job.done = true;
      this.#waiting -= 1;
      options.signal?.removeEventListener("abort", onAbort);
      deliver();
    };
    const job: Job = {
      task,
      since: performance.now(),
      done: false,
      resolve: (result) => settle(() => resolve(result as T)),
      reject: (cause) => settle(() => reject(cause)),
    };
    const onAbort = () =>
      job.reject(
        new LedgerTimeoutError(`Cannot tell whether ${this.stream} has stored it: no answer in time`, {
          cause: options.signal?.reason,
        }),
      );
    if (options.signal?.aborted) onAbort();
    else {
      options.signal?.addEventListener("abort", onAbort);
      this.#enqueue(job);
    }
    return promise;
  }

  /** Waits until every task is settled, `graceMs` at most (default 2,000), then fails those that are left. */
  async shutdown(options: { graceMs?: number } = {}): Promise<void> {
    const deadline = performance.now() + (options.graceMs ?? 2_000);
    while (this.#waiting > 0 && performance.now() < deadline) await sleep(10);
    this.#closing.abort();
    await this.#pumping;
    for (const job of this.#ready)
      job.reject(new LedgerBusyError(`Cannot write to ${this.stream}: it is closing`));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  /** Puts a job in line as soon as all its keys are in memory. */
  #enqueue(job: Job, options: { readSince?: number } = {}): void {
    if (this.#closing.signal.aborted) {
      job.reject(new LedgerBusyError(`Cannot write to ${this.stream}: it is closing`));
      return;
    }
    const oldest = options.readSince ?? performance.now() - MAX_CACHE_AGE_MS;
    const missing = job.task.keys.filter((key) => (this.#cache.get(key.subject)?.at ?? NEVER) < oldest);
    if (missing.length === 0) {
      this.#ready.push(job);
      this.#pump();
      return;
    }
    Promise.all(missing.map((key) => this.#load(key, oldest))).then(
      () => {
        this.#ready.push(job);
        this.#pump();
      },
      (cause) => job.reject(cause),
    );
  }

  /** Reads a key from the leader, unless a read that began after `oldest` is under way. */
  async #load(key: Key, oldest: number): Promise<void> {
    const under = this.#loading.get(key.subject);
    if (under !== undefined) {
      await under;
      if ((this.#cache.get(key.subject)?.at ?? NEVER) >= oldest) return;
      return this.#load(key, oldest);
    }
    const reading = this.#read(key).finally(() => this.#loading.delete(key.subject));
    this.#loading.set(key.subject, reading);
    await reading;
  }

  async #read(key: Key): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const at = performance.now();
      try {
        const { seq, value } = await readLast(this.#jsm, this.stream, key);
        const cached = this.#cache.get(key.subject);
        // A commit of ours may have overtaken the read.
        if (cached === undefined || cached.seq <= seq) this.#remember(key.subject, { seq, value, at });
        return;
      } catch (cause) {
        if (this.#closing.signal.aborted) throw cause;
        this.#options.log.warn(
          { err: cause, subject: key.subject, attempt },
          "cannot read state, trying again",
        );
        await this.#pause(attempt);
      }
    }
  }

  #remember(subject: string, entry: Cached): void {
    this.#cache.delete(subject);
    this.#cache.set(subject, entry);
    if (this.#cache.size <= MAX_CACHED) return;
    const [oldest] = this.#cache.keys();
    if (oldest !== undefined) this.#cache.delete(oldest);
  }

  #pump(): void {
    this.#pumping ??= (async () => {
      // What arrives in the same tick shares the batch.
      await undefined;
      let failures = 0;
      while (this.#ready.length > 0 && !this.#closing.signal.aborted) {
        failures = (await this.#commitReady()) ? 0 : failures + 1;
        if (failures > 0) await this.#pause(failures);
      }
      this.#pumping = undefined;
    })();
  }

  /** Decides what is ready and stores it as one batch. False if the batch was not stored. */
  async #commitReady(): Promise<boolean> {
    const batch = new Batch();
    const jobs: { job: Job; result: unknown }[] = [];
    const queue = this.#ready;
    this.#ready = [];
    for (const [index, job] of queue.entries()) {
      if (job.done) continue;
      const step = this.#decide(job, batch);
      if (step.kind === "full") {
        this.#ready = queue.slice(index).concat(this.#ready);
        break;
      }
      if (step.kind === "decided") jobs.push({ job, result: step.result });
      if (batch.size > 0 && this.#alone.has(job)) {
        this.#ready = queue.slice(index + 1).concat(this.#ready);
        break;
      }
    }
    if (batch.size === 0) {
      for (const { job, result } of jobs) job.resolve(result);
      return true;
    }

    const started = performance.now();
    const outcome = await commit(this.#connection, this.stream, batch.entries(this.#options, new Date()));
    const ms = performance.now() - started;
    this.#options.onCommit?.({ outcome: outcome.kind, messages: batch.size, decisions: jobs.length, ms });

    switch (outcome.kind) {
      case "committed": {
        const at = performance.now();
        for (const { message, seq } of batch.stored(outcome.lastSeq)) {
          this.#remember(message.subject, { seq, value: message.value, at });
        }
        for (const { job, result } of jobs) job.resolve(result);
        return true;
      }
      case "conflict":
        return this.#separate(
          batch,
          jobs.map(({ job }) => job),
        );
      case "unknown":
        this.#options.log.warn(
          { err: outcome.cause, stream: this.stream },
          "a commit got no answer, reading again",
        );
        this.#retry(
          jobs.map(({ job }) => job),
          { readAgain: true },
        );
        return false;
      case "busy":
      case "storage":
        this.#options.log.error(
          { ...outcome, stream: this.stream },
          "the server refuses to store, trying again",
        );
        this.#retry(
          jobs.map(({ job }) => job),
          { readAgain: false },
        );
        return false;
      case "rejected": {
        // Whose message is at fault is not said: alone, each one shows it.
        const cause = new Error(`Cannot store in ${this.stream}: ${outcome.description} (${outcome.code})`);
        if (jobs.length === 1) jobs[0]?.job.reject(cause);
        else for (const { job } of jobs) this.#alone.add(job);
        this.#retry(
          jobs.map(({ job }) => job),
          { readAgain: true },
        );
        return true;
      }
      default:
        outcome satisfies never;
        return false;
    }
  }

  /** Jobs that get a batch of their own, since a batch that held them was rejected. */
  readonly #alone = new WeakSet<Job>();

  #decide(job: Job, batch: Batch): { kind: "decided"; result: unknown } | { kind: "full" | "elsewhere" } {
    if (this.#alone.has(job) && batch.size > 0) return { kind: "full" };
    const { keys } = job.task;
    const guards = new Map<string, number>();
    for (const { subject } of keys) {
      const cached = this.#cache.get(subject);
      if (cached === undefined) {
        this.#enqueue(job);
        return { kind: "elsewhere" };
      }
      guards.set(subject, cached.seq);
    }
    try {
      const { messages, result } = job.task.decide(this.#view(guards, batch));
      if (messages.length === 0) {
        const confirmed = keys.every(({ subject }) => {
          return batch.has(subject) || (this.#cache.get(subject)?.at ?? NEVER) >= job.since;
        });
        if (confirmed) return { kind: "decided", result };
        this.#enqueue(job, { readSince: job.since });
        return { kind: "elsewhere" };
      }
      if (!messages.some((message) => guards.has(message.subject))) {
        throw new TypeError(
          `Cannot store ${messages.map((m) => m.subject).join(", ")}: no state is written with it`,
        );
      }
      return batch.add(messages, guards, job.task.trace) ? { kind: "decided", result } : { kind: "full" };
    } catch (cause) {
      job.reject(cause);
      return { kind: "elsewhere" };
    }
  }

  #view(guards: ReadonlyMap<string, number>, batch: Batch): View {
    return {
      get: <S extends DescMessage>(contract: Contract<S>, id: string) => {
        const subject = subjectOf(contract, id);
        if (!guards.has(subject))
          throw new ReferenceError(`Cannot read ${subject}: the task does not name it`);
        return (batch.get(subject) ?? this.#cache.get(subject)?.value) as MessageShape<S> | undefined;
      },
    };
  }

  /**
   * After a conflict: finds the keys that somebody else has written and lets the tasks on all other keys go first, so
   * that one contended entity does not hold up the rest. False if no key has changed, which means that the server
   * saw a conflict that is over or never was.
   */
  async #separate(batch: Batch, jobs: Job[]): Promise<boolean> {
    const changed = new Set<string>();
    const written = new Set(batch.guarded());
    const keys = new Map(jobs.flatMap((job) => job.task.keys.map((key) => [key.subject, key] as const)));
    // A read fails only when the ledger is closing; then the jobs fail with it.
    await Promise.allSettled(
      [...keys.values()].map(async (key) => {
        if (!written.has(key.subject)) return;
        const before = this.#cache.get(key.subject)?.seq;
        this.#cache.delete(key.subject);
        await this.#load(key, performance.now());
        if (this.#cache.get(key.subject)?.seq !== before) changed.add(key.subject);
      }),
    );
    const contended = (job: Job) => job.task.keys.some((key) => changed.has(key.subject));
    this.#ready = [...jobs.filter((job) => !contended(job)), ...this.#ready];
    for (const job of jobs.filter(contended)) {
      const delay = Math.random() * 10;
      setTimeout(() => this.#enqueue(job), delay);
    }
    return changed.size > 0;
  }

  /** Puts jobs back at the head of the line. */
  #retry(jobs: Job[], options: { readAgain: boolean }): void {
    const left = jobs.filter((job) => !job.done);
    if (!options.readAgain) {
      this.#ready = [...left, ...this.#ready];
      return;
    }
    for (const job of left) {
      for (const key of job.task.keys) this.#cache.delete(key.subject);
    }
    for (const job of left) this.#enqueue(job);
  }

  /** Waits longer after each failure, with jitter, and no longer than the ledger lives. */
  async #pause(failures: number): Promise<void> {
    const delay = Math.min(MAX_BACKOFF_MS, 10 * 2 ** failures) * (0.5 + Math.random() / 2);
    const { signal } = this.#closing;
    try {
      await sleep(delay, undefined, { signal });
    } catch (cause) {
      if (!signal.aborted) throw cause;
    }
  }
}
