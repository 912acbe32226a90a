import { type JetStreamManager, jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { BatchReader, type ReadBatch } from "./batch_reader.ts";
import type { Log } from "./connection.ts";
import type { Contract } from "./contracts/contract.ts";
import { backoffMs, pause } from "./pause.ts";
import { MAX_BATCH, type Projection, type ReadProjectedOptions } from "./projection.ts";
import { ProjectorSession } from "./projector_session.ts";
import { PULL_EXPIRES_MS } from "./pulls.ts";
import { isOtherMoment } from "./seen.ts";

export interface ProjectorOptions {
  service: string;
  /** Durable consumers of a projection, which must exist (`ConsumerSpec.projection`). */
  consumers: readonly { stream: string; name: string }[];
  /** What is counted. */
  contracts: readonly Contract[];
  /** See {@linkcode takeEach}. */
  snapshots: readonly Contract[];
  projection: Projection;
  log: Log;
  /** Nothing is taken before it resolves, nor if it rejects. Default: at once. */
  opened?: Promise<unknown>;
  /** See `ProcessorOptions.readable`. */
  readable?: ReadProjectedOptions["readable"];
  /** What each batch goes through before it is stored: it may wait, or throw. Default: nothing. */
  disturb?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Told of each batch once it is stored: the subjects of its messages, without their ids. */
  onBatch?: (batch: { counted: readonly string[]; parked: readonly string[]; ms: number }) => void;
}

/** Messages that one pull asks for. */
const PULL = 500;
/** Between two tries to go on. A database that is started again is back within seconds. */
const PAUSE = { firstMs: 250, maxMs: 5_000 };

/** A consumer delivers something else than what follows next. Going on from the projection's position puts that right. */
export class OutOfOrderError extends Error {
  override name = "OutOfOrderError";
}

/** The projection has counted messages that the stream does not have: the stream is an older one, from a backup. */
export class ProjectionAheadError extends Error {
  override name = "ProjectionAheadError";
}

/**
 * Counts every message of some streams exactly once in a database, in the order of each stream; of snapshots the last (see
 * {@linkcode takeEach}).
 *
 * The position up to which a stream is counted is stored with the rows, in the same transaction, and is the only one that
 * matters: the durable consumers are cursors that follow it. Whenever the projector begins, and whenever anything is not as
 * it should be (the database does not answer, a delivery is missing or comes again, a consumer was made anew), it sets
 * them back to that position and goes on from there (`CONSUMER.RESET`, nats-server 2.14+: deliveries count from 1 again).
 * So nothing is lost that was acknowledged too early, and nothing counts twice.
 *
 * A message that cannot be read is parked as a dead letter and left out; when that is redriven, it is counted.
 */
export class Projector implements AsyncDisposable {
  readonly #connection: NatsConnection;
  readonly #jsm: JetStreamManager;
  readonly #options: ProjectorOptions;
  readonly #reader: BatchReader;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #session: ProjectorSession | undefined;
  #held: Promise<void> | undefined;

  constructor(connection: NatsConnection, jsm: JetStreamManager, options: ProjectorOptions) {
    this.#connection = connection;
    this.#jsm = jsm;
    this.#options = options;
    this.#reader = new BatchReader(connection, options);
    this.#running = this.#run();
  }

  /** Whether it counts what comes. */
  get ready(): boolean {
    return this.#session !== undefined;
  }

  /** Stops taking messages, while `work` has the projection to itself; then goes on from the position that is there by then. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    try {
      await this.#session?.end();
      return await work();
    } finally {
      this.#held = undefined;
      resolve();
    }
  }

  /** Ends after the batch that is being stored. What was delivered and not counted is delivered again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { opened, log } = this.#options;
    try {
      await opened;
    } catch {
      // Whoever refused to open says why, and ends the service.
      return;
    }
    for (let failures = 0; !signal.aborted; ) {
      await this.#held;
      try {
        await this.#count(() => (failures = 0));
      } catch (cause) {
        if (signal.aborted) return;
        failures += 1;
        const fields = { err: cause, failures };
        if (cause instanceof OutOfOrderError) log.info(fields, "going back to what is counted");
        else log.warn(fields, "the projection pauses");
        await pause(backoffMs(failures, PAUSE), signal);
      }
    }
  }

  /** Counts until it is to end or anything is not as it should be. */
  async #count(onProgress: () => void): Promise<void> {
    const { consumers, projection } = this.#options;
    const { signal } = this.#stopping;
    const positions = new Map(await projection.open(signal));
    const { lost } = projection;
    const storedAt = await projection.storedAt();
    const rewinding = consumers.map((consumer) => {
      const { stream } = consumer;
      return this.#rewind(consumer, positions.get(stream) ?? 0, storedAt.get(stream));
    });
    // Whoever waits for this to end wants none of them under way.
    await Promise.allSettled(rewinding);
    await Promise.all(rewinding);
    // Somebody has asked for it meanwhile, and may move the positions.
    if (this.#held !== undefined) return;
    const session = new ProjectorSession(lost === undefined ? signal : AbortSignal.any([signal, lost]));
    try {
      this.#session = session;
      const pulling = consumers.map((consumer) => {
        return this.#pull(consumer, session, { position: positions.get(consumer.stream) ?? 0 });
      });
      await session.until([...pulling, this.#store(session, { positions, onProgress })]);
    } finally {
      this.#session = undefined;
    }
  }

  /**
   * Has the consumer deliver what follows on `position`.
   * @param storedAt When the message at that position was stored, if that is known.
   * @throws {ProjectionAheadError} If the stream is not the one that was counted up to there.
   */
  async #rewind(
    { stream, name }: { stream: string; name: string },
    position: number,
    storedAt: Date | undefined,
  ): Promise<void> {
    const { state } = await this.#jsm.streams.info(stream);
    if (position > state.last_seq) {
      // The server would take it, and skip whatever is stored up to there.
      throw new ProjectionAheadError(
        `Cannot go on with ${stream}: ${position} of its messages are counted and it has ${state.last_seq}; ` +
          "was it restored from a backup? Rebuild the projection",
      );
    }
    // One that was removed since says nothing.
    const message =
      storedAt && position > 0 ? await this.#jsm.direct.getMessage(stream, { seq: position }) : null;
    if (message !== null && storedAt !== undefined && isOtherMoment(message.time, storedAt)) {
      throw new ProjectionAheadError(
        `Cannot go on with ${stream}: its message ${position} was stored at ${message.time.toISOString()}, and one of ` +
          `${storedAt.toISOString()} is counted; was it restored from a backup? Rebuild the projection`,
      );
    }
    await this.#jsm.consumers.reset(stream, name, position + 1);
  }

  async #pull(
    { stream, name }: { stream: string; name: string },
    session: ProjectorSession,
    { position }: { position: number },
  ): Promise<void> {
    const { signal } = session;
    let last = position;
    const consumer = await jetstream(this.#connection).consumers.get(stream, name);
    for (let next = 1; ; ) {
      await session.room();
      if (session.ending) break;
      const messages = await consumer.fetch({ max_messages: PULL, expires: PULL_EXPIRES_MS });
      const stop = () => messages.stop();
      signal.addEventListener("abort", stop, { once: true });
      // It may have ended while the pull was sent.
      if (session.ending) stop();
      for await (const msg of messages) {
        if (session.ending) break;
        const { deliverySequence, deliveryCount } = msg.info;
        // A stream that was made anew begins at 1, as deliveries do.
        if (deliverySequence !== next || deliveryCount > 1 || msg.seq <= last) {
          throw new OutOfOrderError(
            `Cannot count message ${msg.seq} of ${stream}: it is delivery ${deliverySequence} for the ` +
              `${deliveryCount}. time, and ${next} is next`,
          );
        }
        next += 1;
        last = msg.seq;
        session.add(msg);
      }
      signal.removeEventListener("abort", stop);
    }
  }

  /** Reads the next batch while the one before it is stored. They are stored one after the other. */
  async #store(
    session: ProjectorSession,
    { positions, onProgress }: { positions: Map<string, number>; onProgress: () => void },
  ): Promise<void> {
    let storing = Promise.resolve();
    try {
      while (!session.signal.aborted) {
        const deliveries = await session.take(MAX_BATCH);
        if (deliveries.length === 0) break;
        const started = performance.now();
        await this.#options.disturb?.(session.signal);
        const read = await this.#reader.read(deliveries);
        await storing;
        session.signal.throwIfAborted();
        storing = this.#apply(read, { positions, onProgress, started });
        // It may be long until somebody waits for it.
        storing.catch((cause) => session.fail(cause));
      }
    } finally {
      // Whatever ends this: who waits for the end may move the positions.
      await storing;
    }
  }

  async #apply(
    { batch, counted, parked, last }: ReadBatch,
    {
      positions,
      onProgress,
      started,
    }: { positions: Map<string, number>; onProgress: () => void; started: number },
  ): Promise<void> {
    const advance = new Map(
      [...last].map(([stream, { seq, time }]) => {
        return [stream, { from: positions.get(stream) ?? 0, to: seq, storedAt: time }];
      }),
    );
    await batch.store(advance);
    for (const [stream, msg] of last) {
      positions.set(stream, msg.seq);
      // All before it, too: the consumer has the policy `all`.
      msg.ack();
    }
    onProgress();
    this.#options.onBatch?.({ counted, parked, ms: performance.now() - started });
  }
}
