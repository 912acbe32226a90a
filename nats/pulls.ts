import type { ConsumerMessages, JetStreamClient, JsMsg } from "@nats-io/jetstream";
import type { Log } from "./connection.ts";
import { type ConsumerName, nameOf } from "./consumer_name.ts";
import { backoffMs, pause } from "./pause.ts";

/** Messages that wait in this process, per consumer; the consumer's `max_ack_pending` bounds those under way. */
const PREFETCH = 500;
/** A pull is renewed this often: one that got lost on the way leaves a consumer deaf until then. */
export const PULL_EXPIRES_MS = 5_000;

export interface PullsOptions {
  readonly log: Log;
  /** Gets each message as it is delivered, in the order of each consumer. */
  receive(msg: JsMsg): void;
  /** Called before each pull, which does not wait for it. */
  beforePull(consumer: ConsumerName): void;
  /** What a message, and with it all that come behind it, has to wait for before it is received. It does not reject. */
  beforeReceive(consumer: ConsumerName): Promise<void> | undefined;
}

/** Pulls from durable consumers until it is stopped, whatever happens to the connection or to the consumers. */
export class Pulls {
  readonly #js: JetStreamClient;
  readonly #options: PullsOptions;
  readonly #stopping = new AbortController();
  readonly #open = new Map<string, ConsumerMessages>();
  #waiting = 0;

  constructor(js: JetStreamClient, options: PullsOptions) {
    this.#js = js;
    this.#options = options;
  }

  /** Consumers that are being pulled from. */
  get open(): number {
    return this.#open.size;
  }

  /** Whether no message that has arrived waits to be received. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  begin(consumers: readonly ConsumerName[]): void {
    for (const consumer of consumers) void this.#pull(consumer);
  }

  /** No pull is renewed from here on: deliveries come to an end by themselves, with the pulls that are open. */
  end(): void {
    this.#stopping.abort();
  }

  /** Gives up the pulls that are open. What is on its way to this process then is lost until `ack_wait` is over. */
  stop(): void {
    this.end();
    for (const messages of this.#open.values()) messages.stop();
  }

  async #pull(source: ConsumerName): Promise<void> {
    const { log } = this.#options;
    const { signal } = this.#stopping;
    const name = nameOf(source);
    for (let failures = 0; !signal.aborted; ) {
      try {
        const consumer = await this.#js.consumers.get(source.stream, source.name);
        while (!signal.aborted) {
          this.#options.beforePull(source);
          // Not `consume()`: it sits out a deleted consumer or a new leader for seconds, and drops what is on its way
          // when it is stopped.
          const messages = await consumer.fetch({ max_messages: PREFETCH, expires: PULL_EXPIRES_MS });
          this.#open.set(name, messages);
          for await (const msg of messages) {
            const waits = this.#options.beforeReceive(source);
            if (waits !== undefined) {
              this.#waiting += 1;
              await waits;
              this.#waiting -= 1;
            }
            this.#options.receive(msg);
          }
          failures = 0;
        }
      } catch (cause) {
        failures += 1;
        if (!signal.aborted) log.warn({ err: cause, consumer: name }, "cannot consume, trying again");
        this.#open.delete(name);
        await pause(backoffMs(failures), signal);
      }
    }
    this.#open.delete(name);
  }
}
