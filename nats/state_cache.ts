import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Key } from "./contracts/contract.ts";
import { backoffMs, pause } from "./pause.ts";
import { type Last, UnreadableStateError } from "./read.ts";
import type { TraceContext } from "./trace.ts";

type State = MessageShape<DescMessage>;

/** The last message of a subject, as far as is known here. */
export interface Cached {
  seq: number;
  /** Undefined: there is none. */
  value: State | undefined;
  /** The trace that the message belongs to, as far as it says. */
  trace: TraceContext | undefined;
  /** It was the leader's last word at some moment after this: when the read, or the commit, began; `performance.now()`. */
  at: number;
  /** When the commit that wrote it was answered: a read that began before may have missed it. */
  writtenAt: number;
}

export interface StateCacheOptions {
  /** Reads the last message of a key from the leader. */
  read(key: Key): Promise<Last>;
  /** Ends reads that fail again and again. */
  signal: AbortSignal;
  warn(fields: object, text: string): void;
}

/** States kept in memory, a few kilobytes each. */
const MAX_CACHED = 10_000;
/** More reads than this at once only wait in the server's queue, and time out there. */
const MAX_READS = 256;
const MAX_BACKOFF_MS = 2_000;
const NEVER = Number.NEGATIVE_INFINITY;

/** What a ledger knows of its keys: what it has read from the leader, and what it has written since. */
export class StateCache {
  readonly #options: StateCacheOptions;
  readonly #cached = new Map<string, Cached>();
  readonly #loading = new Map<string, Promise<void>>();
  /** Reads under way, and those that wait for one to end. */
  #reads = 0;
  readonly #readers: (() => void)[] = [];

  constructor(options: StateCacheOptions) {
    this.#options = options;
  }

  get(subject: string): Cached | undefined {
    return this.#cached.get(subject);
  }

  /** Whether what is known of `key` was true at `oldest` or later. */
  isFresh({ subject }: Key, oldest: number): boolean {
    return (this.#cached.get(subject)?.at ?? NEVER) >= oldest;
  }

  forget(subject: string): void {
    this.#cached.delete(subject);
  }

  /**
   * Reads a key from the leader, unless a read that began after `oldest` is under way. Tries again until it succeeds.
   * @throws {UnreadableStateError} If the state is not of its schema.
   * @throws What the last read threw, once the signal has aborted.
   */
  async load(key: Key, oldest: number): Promise<void> {
    for (let under = this.#loading.get(key.subject); under; under = this.#loading.get(key.subject)) {
      await under;
      if (this.isFresh(key, oldest)) return;
    }
    const reading = this.#read(key).finally(() => this.#loading.delete(key.subject));
    this.#loading.set(key.subject, reading);
    await reading;
  }

  /**
   * Takes over what a commit stored.
   * @param isKey Whether the message is somebody's state; events and commands are kept only if they were asked for.
   * @param span When the commit was sent and when it was answered.
   */
  store(
    subject: string,
    state: { seq: number; value: State; trace: TraceContext },
    { isKey, span }: { isKey: boolean; span: { started: number; ended: number } },
  ): void {
    const cached = this.#cached.get(subject);
    if (cached === undefined && !isKey) return;
    // A read that was answered meanwhile may have shown what somebody else wrote after it.
    if (cached !== undefined && cached.seq > state.seq) return;
    this.#remember(subject, { ...state, at: span.started, writtenAt: span.ended });
  }

  async #read(key: Key): Promise<void> {
    const { read, signal, warn } = this.#options;
    if (this.#reads >= MAX_READS) await new Promise<void>((resolve) => this.#readers.push(resolve));
    else this.#reads += 1;
    try {
      for (let attempt = 1; ; attempt++) {
        const at = performance.now();
        try {
          const { seq, value, trace } = await read(key);
          const cached = this.#cached.get(key.subject);
          // A commit of ours may have overtaken the read. One that was answered before it began has not: then a lower
          // sequence means that messages were removed.
          const overtaken = cached !== undefined && cached.seq > seq && cached.writtenAt > at;
          if (!overtaken) this.#remember(key.subject, { seq, value, trace, at, writtenAt: NEVER });
          return;
        } catch (cause) {
          if (signal.aborted || cause instanceof UnreadableStateError) throw cause;
          warn({ err: cause, subject: key.subject, attempt }, "cannot read state, trying again");
          await pause(backoffMs(attempt, { firstMs: 10, maxMs: MAX_BACKOFF_MS }), signal);
        }
      }
    } finally {
      const next = this.#readers.shift();
      if (next === undefined) this.#reads -= 1;
      else next();
    }
  }

  #remember(subject: string, entry: Cached): void {
    this.#cached.delete(subject);
    this.#cached.set(subject, entry);
    if (this.#cached.size <= MAX_CACHED) return;
    const [oldest] = this.#cached.keys();
    if (oldest !== undefined) this.#cached.delete(oldest);
  }
}
