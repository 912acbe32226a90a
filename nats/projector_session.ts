import type { JsMsg } from "@nats-io/jetstream";

/** So old are answers at most while all goes well. With a transaction for each message, the shop would feel what they cost. */
const LINGER_MS = 100;
/** Where more wait there is something to catch up with, and no time to lose. */
const FEW = 100;
/** Enough that there is always a batch to read. More would only be garbage that is not collected yet, and costs time. */
const MANY = 2_000;

/** Deliveries that wait to be counted, from one setting of the consumers to the next. */
export class ProjectorSession {
  readonly #ending = new AbortController();
  readonly #failure = Promise.withResolvers<never>();
  readonly signal: AbortSignal;
  #isEnding = false;
  #waiting: JsMsg[] = [];
  #wake: (() => void) | undefined;
  #room = Promise.withResolvers<void>();
  #ended: Promise<unknown> = Promise.resolve();

  constructor(stopping: AbortSignal) {
    this.signal = AbortSignal.any([stopping, this.#ending.signal]);
    this.#isEnding = this.signal.aborted;
    this.signal.addEventListener("abort", () => {
      this.#isEnding = true;
      this.#wake?.();
      this.#room.resolve();
    });
  }

  /** Whether `signal` has aborted. To ask that of a signal which is made of several takes as long as to count a message. */
  get ending(): boolean {
    return this.#isEnding;
  }

  add(msg: JsMsg): void {
    this.#waiting.push(msg);
    this.#wake?.();
  }

  /** Resolves once few enough wait that more should be asked for, or when the session ends. */
  async room(): Promise<void> {
    while (this.#waiting.length >= MANY && !this.#isEnding) await this.#room.promise;
  }

  /** Up to `most` deliveries, as soon as there is one; none when the session ends. */
  async take(most: number): Promise<JsMsg[]> {
    await this.#arrival(1);
    // Nobody waits for what is counted: a few messages wait for more, and share a transaction with them.
    await this.#arrival(FEW, LINGER_MS);
    if (this.#isEnding) return [];
    const taken = this.#waiting.splice(0, most);
    this.#room.resolve();
    this.#room = Promise.withResolvers();
    return taken;
  }

  /** Resolves when so many wait, after `maxMs`, or when the session ends. */
  #arrival(count: number, maxMs?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = maxMs === undefined ? undefined : setTimeout(resolve, maxMs);
    this.#wake = () => {
      if (this.#waiting.length < count && !this.#isEnding) return;
      clearTimeout(timer);
      resolve();
    };
    this.#wake();
    return promise;
  }

  /** Ends it. */
  fail(cause: unknown): void {
    this.#failure.reject(cause);
  }

  /**
   * Ends with the first of `parts` that does, or with what it fails with, and waits for all parts.
   * @throws What that is.
   */
  async until(parts: readonly Promise<void>[]): Promise<void> {
    this.#ended = Promise.allSettled(parts);
    // After the end nobody asks any more.
    this.#failure.promise.catch(() => undefined);
    try {
      await Promise.race([...parts, this.#failure.promise]);
    } finally {
      this.#ending.abort();
      await this.#ended;
    }
  }

  /** Resolves once nothing of it is under way. */
  async end(): Promise<void> {
    this.#ending.abort();
    await this.#ended;
  }
}
