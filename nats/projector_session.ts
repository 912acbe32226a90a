import type { JsMsg } from "@nats-io/jetstream";
import { pause } from "./pause.ts";

/** So old are answers at most while all goes well. With a transaction for each message, the shop would feel what they cost. */
const LINGER_MS = 100;
/** Where more wait there is something to catch up with, and no time to lose. */
const FEW = 100;

/** Deliveries that wait to be counted, from one setting of the consumers to the next. */
export class ProjectorSession {
  readonly #ending = new AbortController();
  readonly #failure = Promise.withResolvers<never>();
  readonly signal: AbortSignal;
  #waiting: JsMsg[] = [];
  #wake: (() => void) | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(stopping: AbortSignal) {
    this.signal = AbortSignal.any([stopping, this.#ending.signal]);
    this.signal.addEventListener("abort", () => this.#wake?.());
  }

  add(msg: JsMsg): void {
    this.#waiting.push(msg);
    this.#wake?.();
  }

  /** Up to `most` deliveries, as soon as there is one; none when the session ends. */
  async take(most: number): Promise<JsMsg[]> {
    while (this.#waiting.length === 0 && !this.signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    // Nobody waits for what is counted: a few messages wait for more, and share a transaction with them.
    if (this.#waiting.length < FEW) await pause(LINGER_MS, this.signal);
    return this.signal.aborted ? [] : this.#waiting.splice(0, most);
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
