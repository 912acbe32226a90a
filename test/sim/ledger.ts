import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Contract, type Key, subjectOf } from "../../nats/contracts/mod.ts";
import type { Decision, View } from "../../nats/mod.ts";
import { QuickBatch, type SimBatch, WireBatch } from "./batch.ts";
import type { Value } from "./network.ts";
import type { Process, Surroundings } from "./process.ts";
import { Signal, type Task, wait } from "./time.ts";

/** What is to be decided, as `Task` of `nats/ledger.ts`. */
export interface Work<T> {
  readonly keys: readonly Key[];
  decide(view: View): Decision<T>;
}

interface Cached {
  readonly seq: number;
  readonly value: Value | undefined;
  /** It was the last word at some moment after this. */
  readonly at: number;
  /** When the commit that wrote it was answered. */
  readonly writtenAt: number;
}

interface Job {
  readonly work: Work<unknown>;
  readonly since: number;
  readonly done: Signal<unknown>;
  ready: boolean;
}

const MAX_CACHE_AGE_MS = 5_000;
const NEVER = Number.NEGATIVE_INFINITY;

/**
 * What `Ledger` of `nats/` does, in virtual time: load the keys, decide, commit what was decided as one guarded batch
 * together with what became ready meanwhile; after a conflict or an unknown outcome read again and decide again.
 */
export class SimLedger {
  readonly #process: Process;
  readonly #stream: string;
  readonly #around: Surroundings;
  readonly #cache = new Map<string, Cached>();
  readonly #line = new Set<Job>();
  #pumping = false;
  #changed = false;

  constructor(process: Process, stream: string, around: Surroundings) {
    this.#process = process;
    this.#stream = stream;
    this.#around = around;
  }

  *execute<T>(work: Work<T>): Task<T> {
    const job: Job = { work, since: this.#around.time.now, done: new Signal(), ready: false };
    this.#line.add(job);
    this.#prepare(job, job.since - MAX_CACHE_AGE_MS);
    return (yield* wait(job.done)) as T;
  }

  #prepare(job: Job, oldest: number): void {
    const missing = job.work.keys.filter(({ subject }) => !this.#isFresh(subject, oldest));
    job.ready = missing.length === 0;
    if (job.ready) this.#wake();
    else this.#around.time.start(this.#process, this.#load(job, missing));
  }

  *#load(job: Job, keys: readonly Key[]): Task<void> {
    for (const { subject } of keys) yield* this.#read(subject);
    job.ready = true;
    this.#wake();
  }

  *#read(subject: string): Task<void> {
    const { network, random, time } = this.#around;
    for (;;) {
      const at = time.now;
      const found = yield* network.last(this.#stream, subject);
      if (found !== null) {
        const seq = found?.seq ?? 0;
        const cached = this.#cache.get(subject);
        const overtaken = cached !== undefined && cached.seq > seq && cached.writtenAt > at;
        if (!overtaken) this.#cache.set(subject, { seq, value: found?.data, at, writtenAt: NEVER });
        return;
      }
      yield random.delay(50);
    }
  }

  #isFresh(subject: string, oldest: number): boolean {
    return (this.#cache.get(subject)?.at ?? NEVER) >= oldest;
  }

  #wake(): void {
    this.#changed = true;
    if (this.#pumping) return;
    this.#pumping = true;
    this.#around.time.start(this.#process, this.#pump());
  }

  *#pump(): Task<void> {
    while (this.#changed) {
      this.#changed = false;
      yield* this.#commitReady();
    }
    this.#pumping = false;
  }

  *#commitReady(): Task<void> {
    const { network, random, time, bug, wire } = this.#around;
    const batch = wire ? new WireBatch() : new QuickBatch();
    const decided: { job: Job; result: unknown }[] = [];
    const held = new Set<string>();
    for (const job of this.#line) {
      const result =
        job.ready && !job.work.keys.some(({ subject }) => held.has(subject)) && this.#decide(job, batch);
      if (result === false) for (const { subject } of job.work.keys) held.add(subject);
      else decided.push({ job, result: result.result });
    }
    if (decided.length === 0) return;
    this.#changed = true;
    if (batch.size === 0) {
      for (const { job, result } of decided) this.#settle(job, result);
      return;
    }
    const started = time.now;
    let entries = batch.entries();
    if (bug === "no_guards") entries = entries.map(({ expect: _, ...entry }) => entry);
    let outcome = yield* network.commit(
      this.#stream,
      bug === "batches_are_torn" ? entries.slice(0, 1) : entries,
    );
    if (bug === "batches_are_torn" && outcome.kind === "committed") {
      outcome = yield* network.commit(this.#stream, entries.slice(1));
    }
    if (outcome.kind === "unknown" && bug === "unknown_is_tried_again_unguarded") {
      outcome = yield* network.commit(
        this.#stream,
        entries.map(({ expect: _, ...entry }) => entry),
      );
    }
    const trusting = outcome.kind === "unknown" && bug === "unknown_is_committed";
    if (outcome.kind !== "committed") {
      this.#around.say(
        this.#process.name,
        () => `${outcome.kind}: ${entries.map(({ subject }) => subject).join(", ")}`,
      );
    }
    if (outcome.kind === "committed") {
      for (const { message, seq } of batch.stored(outcome.lastSeq)) {
        const cached = this.#cache.get(message.subject);
        if (cached === undefined || cached.seq > seq) continue;
        this.#cache.set(message.subject, { seq, value: message.value, at: started, writtenAt: time.now });
      }
    }
    if (outcome.kind === "committed" || trusting) {
      for (const { job, result } of decided) this.#settle(job, result);
      return;
    }
    // Nothing is known of what these were decided on.
    for (const { job } of decided) for (const { subject } of job.work.keys) this.#cache.delete(subject);
    for (const { job } of decided) job.ready = false;
    yield random.delay(10);
    for (const { job } of decided) this.#prepare(job, time.now - MAX_CACHE_AGE_MS);
  }

  #settle(job: Job, result: unknown): void {
    this.#line.delete(job);
    job.done.fire(result);
  }

  #decide(job: Job, batch: SimBatch): { result: unknown } | false {
    const { keys, decide } = job.work;
    const guards = new Map<string, number>();
    for (const { subject } of keys) {
      const cached = this.#cache.get(subject);
      if (cached === undefined) {
        this.#prepare(job, NEVER);
        return false;
      }
      guards.set(subject, cached.seq);
    }
    const { messages, result } = decide(this.#view(guards, batch));
    if (messages.length > 0) batch.add(messages, guards);
    else if (this.#around.bug !== "cache_is_trusted") {
      const confirmed = keys.every(
        ({ subject }) => batch.get(subject) !== undefined || this.#isFresh(subject, job.since),
      );
      if (!confirmed) {
        this.#prepare(job, job.since);
        return false;
      }
    }
    return { result };
  }

  #view(guards: ReadonlyMap<string, number>, batch: SimBatch): View {
    return {
      get: <S extends DescMessage>(contract: Contract<S>, id: string) => {
        const subject = subjectOf(contract, id);
        if (!guards.has(subject))
          throw new ReferenceError(`Cannot read ${subject}: the task does not name it`);
        return (batch.get(subject) ?? this.#cache.get(subject)?.value) as MessageShape<S> | undefined;
      },
    };
  }
}
