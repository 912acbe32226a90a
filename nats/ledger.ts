import { setTimeout as sleep } from "node:timers/promises";
import type { DescMessage } from "@bufbuild/protobuf";
import type { NatsConnection } from "@nats-io/transport-node";
import { Batch, type Sender } from "./batch.ts";
import { type CommitOutcome, commit } from "./commit.ts";
import type { Log } from "./connection.ts";
import type { Key, Outgoing } from "./contracts/contract.ts";
import { type Decided, decideTask } from "./decide_task.ts";
import { Link, LinkLostError } from "./link.ts";
import { backoffMs, pause } from "./pause.ts";
import { type Last, readLast } from "./read.ts";
import { traceCommit } from "./spans.ts";
import { StateCache } from "./state_cache.ts";
import { LedgerBusyError, LedgerTimeoutError, MAX_WAITING, type Task } from "./task.ts";

export interface LedgerOptions extends Sender {
  /** The stream that this service, and nobody else, writes. */
  stream: string;
  log: Log;
  /** Nothing is decided or stored before it resolves. Default: at once. It rejects for who made it. */
  opened?: Promise<unknown>;
  /** How long to wait for the server's word on a commit before reading again what became of it. Default 5,000. */
  commitTimeoutMs?: number;
  /** Told of every attempt to commit, for metrics. */
  onCommit?: (attempt: {
    outcome: CommitOutcome["kind"];
    messages: number;
    decisions: number;
    ms: number;
  }) => void;
}

/** A cached state that is not written under guard may be this old at most, where several instances share a ledger. */
const MAX_CACHE_AGE_MS = 5_000;
/** Instances that contend for a key come back at different moments within this span. */
const CONTENTION_MS = 10;
/** One wrong guess costs a whole batch: after a batch that was not stored, states are read for so long. */
const GUESS_AGAIN_MS = 1_000;
/** Between commits that are not stored. */
const BACKOFF = { firstMs: 10, maxMs: 2_000 };
const NEVER = Number.NEGATIVE_INFINITY;

interface Job {
  task: Task<unknown>;
  since: number;
  /** Whether all its keys have been read, so that it can be decided. */
  ready: boolean;
  /** Whether keys that the task begins may be taken to have no message; not once a batch with it was not stored. */
  guesses: boolean;
  /** Whether a batch with it was sent and its outcome is not known. */
  unsure: boolean;
  /** Whether it gets a batch of its own, since a batch that held it was rejected. */
  alone: boolean;
  /** Settled by whichever comes first: commit, failure, or the caller's signal. Then it is in line no more. */
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
 * Tasks that share a key are decided in the order in which they came. Tasks that do not, never wait for each other's reads.
 */
export class Ledger implements AsyncDisposable {
  readonly stream: string;
  readonly #connection: NatsConnection;
  readonly #link: Link;
  readonly #options: LedgerOptions;
  readonly #cache: StateCache;
  readonly #closing = new AbortController();
  readonly #listeners: ((message: Outgoing) => void)[] = [];
  /** Every task that is not settled, in order of arrival. */
  readonly #line = new Set<Job>();
  /** Undefined once it is open. */
  #opened: Promise<unknown> | undefined;
  #warnedAt = NEVER;
  #guessesFrom = NEVER;
  /** Something in line may have become decidable since the line was last walked. */
  #changed = false;
  #pumping = false;
  /** Commits in a row that were not stored. */
  #failures = 0;

  constructor(connection: NatsConnection, options: LedgerOptions) {
    this.stream = options.stream;
    this.#connection = connection;
    this.#link = new Link(connection);
    this.#options = options;
    this.#opened = options.opened?.then(
      () => (this.#opened = undefined),
      () => this.#closing.abort(),
    );
    this.#cache = new StateCache({
      read: (key) => this.read(key),
      signal: this.#closing.signal,
      warn: (fields, text) => this.#warn(fields, text),
    });
  }

  /**
   * Carries out `task` and resolves with its result once all its messages are stored, or at once if there are none.
   *
   * @throws Whatever `task.decide` throws; then nothing of the task is stored.
   * @throws {LedgerTimeoutError} If `signal` aborts first, or the ledger closes while the outcome is unknown.
   * @throws {LedgerBusyError} If too many tasks wait, or the ledger is closing.
   * @throws {UnreadableStateError} If the state of a key is not of its schema.
   * @throws {Error} If the server will not store what was decided, whatever the state.
   */
  execute<T>(task: Task<T>, options: { signal?: AbortSignal } = {}): Promise<T> {
    if (this.#closing.signal.aborted) return Promise.reject(this.#closed());
    if (this.#line.size >= MAX_WAITING) {
      return Promise.reject(
        new LedgerBusyError(`Cannot write to ${this.stream}: ${MAX_WAITING} tasks are waiting`),
      );
    }
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(this.#timedOut(signal.reason));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const settle = (deliver: () => void) => {
      if (!this.#line.delete(job)) return;
      signal?.removeEventListener("abort", onAbort);
      deliver();
      // Those behind it may have waited for it.
      this.#wake();
    };
    const job: Job = {
      task,
      since: performance.now(),
      ready: false,
      guesses: task.begins !== undefined,
      unsure: false,
      alone: false,
      resolve: (result) => settle(() => resolve(result as T)),
      reject: (cause) => settle(() => reject(cause)),
    };
    const onAbort = () => job.reject(this.#timedOut(signal?.reason));
    signal?.addEventListener("abort", onAbort);
    this.#line.add(job);
    this.#prepare(job);
    return promise;
  }

  /**
   * The last message of `key` as the leader has it, whatever is in memory. For answers; a task reads its own keys.
   *
   * @throws {UnreadableStateError} If it cannot be decoded, or was not written by this service.
   * @throws {Error} If the server does not answer.
   */
  read<S extends DescMessage>(key: Key<S>): Promise<Last<S>> {
    return this.#link.ask(() => readLast(this.#connection, this.stream, key));
  }

  /**
   * From now on, `listener` is told of each message that this process stores, once it is stored: for metrics. What a later
   * decision of the same batch has replaced is not stored; of a commit that got no answer it is told nothing, whatever
   * became of it.
   */
  onStored(listener: (message: Outgoing) => void): void {
    this.#listeners.push(listener);
  }

  /** Waits until every task is settled, `graceMs` at most (default 2,000), then fails those that are left. */
  async shutdown(options: { graceMs?: number } = {}): Promise<void> {
    const deadline = performance.now() + (options.graceMs ?? 2_000);
    while (this.#line.size > 0 && performance.now() < deadline) await sleep(10);
    this.#closing.abort();
    for (const job of this.#line) job.reject(job.unsure ? this.#timedOut("it is closing") : this.#closed());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  #closed(): LedgerBusyError {
    return new LedgerBusyError(`Cannot write to ${this.stream}: it is closing`);
  }

  #timedOut(cause: unknown): LedgerTimeoutError {
    return new LedgerTimeoutError(`Cannot tell whether ${this.stream} has stored it: no answer in time`, {
      cause,
    });
  }

  /** Has a task decided as soon as all its keys are in memory, read after `oldest`. */
  #prepare(job: Job, oldest = performance.now() - MAX_CACHE_AGE_MS): void {
    const missing = job.task.keys.filter(
      (key) => !this.#cache.isFresh(key, oldest) && !this.#isGuessed(job, key),
    );
    job.ready = missing.length === 0;
    if (job.ready) {
      this.#wake();
      return;
    }
    Promise.all(missing.map((key) => this.#cache.load(key, oldest))).then(
      () => {
        job.ready = true;
        this.#wake();
      },
      (cause) => job.reject(cause),
    );
  }

  /** Whether the key is taken to have no message, since nothing is known of it and the task begins it. */
  #isGuessed({ guesses, task }: Job, { subject }: Key): boolean {
    if (!guesses || performance.now() < this.#guessesFrom) return false;
    return this.#cache.get(subject) === undefined && task.begins?.includes(subject) === true;
  }

  #wake(): void {
    this.#changed = true;
    if (!this.#pumping) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    // What arrives in the same tick shares the batch.
    await this.#opened;
    while (this.#changed && !this.#closing.signal.aborted) {
      this.#changed = false;
      const stored = await this.#commitReady();
      if (stored === true) this.#failures = 0;
      if (stored === false) await pause(backoffMs(++this.#failures, BACKOFF), this.#closing.signal);
    }
    this.#pumping = false;
  }

  /**
   * Decides what is ready, in order, and stores it as one batch.
   * @returns False if the batch was not stored and the next one had better wait; undefined if there was none.
   */
  async #commitReady(): Promise<boolean | undefined> {
    const batch = new Batch();
    const decided: { job: Job; result: unknown }[] = [];
    // Keys of tasks that wait for a read: whoever came later and shares one waits with them.
    const held = new Set<string>();
    const hold = (job: Job) => {
      for (const { subject } of job.task.keys) held.add(subject);
    };
    for (const job of this.#line) {
      if (!job.ready || job.task.keys.some(({ subject }) => held.has(subject))) {
        hold(job);
        continue;
      }
      const step = this.#decide(job, batch);
      if (step.kind === "decided") decided.push({ job, result: step.result });
      if (step.kind === "unread") {
        hold(job);
        this.#prepare(job, step.oldest);
      }
      if (step.kind === "full" || (job.alone && batch.size > 0)) {
        this.#changed = true;
        break;
      }
    }
    if (batch.size === 0) {
      for (const { job, result } of decided) job.resolve(result);
      return undefined;
    }
    for (const { job } of decided) job.unsure = true;

    const started = performance.now();
    const outcome = await this.#commit(batch);
    const ended = performance.now();
    this.#options.onCommit?.({
      outcome: outcome.kind,
      messages: batch.size,
      decisions: decided.length,
      ms: ended - started,
    });
    const { tracer } = this.#options;
    if (tracer !== undefined) {
      const { stream } = this;
      traceCommit(tracer, batch, { stream, outcome, startedAt: started, decisions: decided.length });
    }

    // Whoever is not stored is still in line, in its old place.
    this.#changed = true;
    const jobs = decided.map(({ job }) => job).filter((job) => this.#line.has(job));
    if (outcome.kind !== "committed") {
      for (const job of jobs) job.guesses = false;
      this.#guessesFrom = ended + GUESS_AGAIN_MS;
    }
    switch (outcome.kind) {
      case "committed":
        this.#rememberStored(batch, outcome.lastSeq, { started, ended });
        this.#tell(batch, outcome.lastSeq);
        for (const { job, result } of decided) job.resolve(result);
        return true;
      case "conflict":
        return this.#separate(batch, jobs);
      case "unknown":
        this.#warn({ err: outcome.cause, stream: this.stream }, "a commit got no answer, reading again");
        for (const job of jobs) for (const { subject } of job.task.keys) this.#cache.forget(subject);
        for (const job of jobs) this.#prepare(job);
        return false;
      case "busy":
      case "storage":
        this.#options.log.error(
          { ...outcome, stream: this.stream },
          "the server refuses to store, trying again",
        );
        for (const job of jobs) this.#prepare(job);
        return false;
      case "rejected": {
        // Whose message is at fault is not said: alone, each one shows it.
        const cause = new Error(`Cannot store in ${this.stream}: ${outcome.description} (${outcome.code})`);
        if (decided.length === 1) jobs[0]?.reject(cause);
        for (const job of jobs) job.alone = true;
        return true;
      }
      default:
        outcome satisfies never;
        return false;
    }
  }

  async #commit(batch: Batch): Promise<CommitOutcome> {
    try {
      const entries = batch.entries(this.#options, new Date());
      const { commitTimeoutMs: timeoutMs } = this.#options;
      const options = timeoutMs === undefined ? {} : { timeoutMs };
      return await this.#link.ask(() => commit(this.#connection, this.stream, entries, options));
    } catch (cause) {
      if (cause instanceof LinkLostError) return { kind: "unknown", cause };
      // Nothing was sent: a header that cannot be written, such as a schedule at no time.
      return { kind: "rejected", code: 0, description: String(cause) };
    }
  }

  #decide(job: Job, batch: Batch): Decided {
    if (job.alone && batch.size > 0) return { kind: "full" };
    const { task, since } = job;
    const mayGuess = (key: Key) => this.#isGuessed(job, key);
    const decided = decideTask(task, { batch, cache: this.#cache, since, mayGuess });
    if (decided.kind === "failed") job.reject(decided.cause);
    if (decided.kind === "unread" && decided.guessed) job.guesses = false;
    return decided;
  }

  /** Keeps the new state of the keys; events and commands are nobody's state here. */
  #rememberStored(batch: Batch, lastSeq: number, span: { started: number; ended: number }): void {
    const keys = new Set(batch.guarded());
    for (const { message, seq, trace } of batch.stored(lastSeq)) {
      const isKey = keys.has(message.subject);
      this.#cache.store(message.subject, { seq, value: message.value, trace }, { isKey, span });
    }
  }

  #tell(batch: Batch, lastSeq: number): void {
    if (this.#listeners.length === 0) return;
    for (const { message } of batch.stored(lastSeq)) {
      for (const listener of this.#listeners) listener(message);
    }
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
    // A read fails when the ledger is closing or the state is unreadable; then the jobs fail with it.
    await Promise.allSettled(
      [...keys.values()].map(async (key) => {
        if (!written.has(key.subject)) return;
        // What was not known was taken to have no message.
        const before = this.#cache.get(key.subject)?.seq ?? 0;
        this.#cache.forget(key.subject);
        await this.#cache.load(key, performance.now());
        if (this.#cache.get(key.subject)?.seq !== before) changed.add(key.subject);
      }),
    );
    const contended = jobs.filter((job) => job.task.keys.some((key) => changed.has(key.subject)));
    if (contended.length === 0) return false;
    for (const job of contended) job.ready = false;
    // All of them come back together, as one batch against the other instance and not as many.
    setTimeout(() => {
      for (const job of contended) this.#prepare(job);
    }, Math.random() * CONTENTION_MS);
    return true;
  }

  /** At most one line a second: when the server is away, every key has the same to say. */
  #warn(fields: object, text: string): void {
    if (performance.now() - this.#warnedAt < 1_000) return;
    this.#warnedAt = performance.now();
    this.#options.log.warn(fields, text);
  }
}
