import type { ConsumerMessages, JetStreamClient, JsMsg } from "@nats-io/jetstream";
import type { Log } from "./connection.ts";
import { backoffMs, pause } from "./pause.ts";

/** A durable pull consumer, which must exist. */
export interface ConsumerName {
  readonly stream: string;
  readonly name: string;
}

/** Messages that wait in this process, per consumer; the consumer's `max_ack_pending` bounds those under way. */
const PREFETCH = 500;
/** A pull is renewed this often: one that got lost on the way leaves a consumer deaf until then. */
const PULL_EXPIRES_MS = 5_000;

/** Pulls from durable consumers until it is stopped, whatever happens to the connection or to the consumers. */
export class Pulls {
  readonly #js: JetStreamClient;
  readonly #log: Log;
  readonly #receive: (msg: JsMsg) => void;
  readonly #stopping = new AbortController();
  readonly #open = new Map<string, ConsumerMessages>();

  /** @param options.receive Gets each message as it is delivered, in the order of each consumer. */
  constructor(js: JetStreamClient, options: { log: Log; receive(msg: JsMsg): void }) {
    this.#js = js;
    this.#log = options.log;
    this.#receive = options.receive;
  }

  /** Consumers that are being pulled from. */
  get open(): number {
    return this.#open.size;
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
    const { signal } = this.#stopping;
    const name = `${source.stream}/${source.name}`;
    for (let failures = 0; !signal.aborted; ) {
      try {
        const consumer = await this.#js.consumers.get(source.stream, source.name);
        while (!signal.aborted) {
          // Not `consume()`: it sits out a deleted consumer or a new leader for seconds, and drops what is on its way
          // when it is stopped.
          const messages = await consumer.fetch({ max_messages: PREFETCH, expires: PULL_EXPIRES_MS });
          this.#open.set(name, messages);
          for await (const msg of messages) this.#receive(msg);
          failures = 0;
        }
      } catch (cause) {
        failures += 1;
        if (!signal.aborted) this.#log.warn({ err: cause, consumer: name }, "cannot consume, trying again");
        this.#open.delete(name);
        await pause(backoffMs(failures), signal);
      }
    }
    this.#open.delete(name);
  }
}
