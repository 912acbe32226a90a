import { JetStreamApiError, JetStreamError } from "@nats-io/jetstream";
import { errors, type NatsConnection } from "@nats-io/transport-node";

/** What was asked over a connection will not be answered over it: it is gone, and whether it was heard is unknown. */
export class LinkLostError extends Error {
  override name = "LinkLostError";
}

/**
 * Whether a connection is up. The client keeps a request that was sent over a lost connection waiting until its time is
 * out; whoever asks through this knows at once.
 */
export class Link {
  /** Whoever waits for the connection; undefined while it is up. */
  #down: PromiseWithResolvers<void> | undefined;
  /** Ends the wait of each question that is open. */
  readonly #open = new Set<(cause: LinkLostError) => void>();

  constructor(connection: NatsConnection) {
    void (async () => {
      for await (const { type } of connection.status()) {
        if (type === "disconnect") this.#goDown();
        if (type === "reconnect") this.#comeUp();
      }
    })();
  }

  get up(): boolean {
    return this.#down === undefined;
  }

  /**
   * Waits until the connection is up, then asks.
   * @throws {LinkLostError} If the connection is lost before the answer.
   */
  async ask<T>(question: () => Promise<T>): Promise<T> {
    await this.#down?.promise;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#open.add(reject);
    question().then(resolve, reject);
    try {
      return await promise;
    } finally {
      this.#open.delete(reject);
    }
  }

  #comeUp(): void {
    this.#down?.resolve();
    this.#down = undefined;
  }

  #goDown(): void {
    // A connection may be lost again before it is back: who waits already, waits on.
    this.#down ??= Promise.withResolvers();
    for (const reject of this.#open) {
      reject(new LinkLostError("Cannot get an answer: the connection to NATS is lost"));
    }
  }
}

/** Whether this says that the server could not be asked or did not answer, rather than what it answered. */
export function isUnavailable(cause: unknown): boolean {
  return (
    cause instanceof LinkLostError ||
    // No responders: the stream has no leader right now.
    (cause instanceof JetStreamError && "code" in cause && cause.code === 503) ||
    cause instanceof errors.TimeoutError ||
    cause instanceof errors.NoRespondersError ||
    cause instanceof errors.RequestError ||
    cause instanceof errors.ConnectionError ||
    cause instanceof errors.ClosedConnectionError ||
    cause instanceof errors.DrainingConnectionError ||
    // The server is there and JetStream is not: it starts, or is without a leader.
    (cause instanceof JetStreamApiError && cause.status === 503)
  );
}
