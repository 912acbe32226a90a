import { type JetStreamManager, type JsMsg, jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Log } from "./connection.ts";
import { type Contract, splitSubject } from "./contracts/contract.ts";
import { changeLetter } from "./dead_letter.ts";
import { type Arrived, arrivedOf, giveUp } from "./incoming.ts";
import { backoffMs, pause } from "./pause.ts";
import {
  MAX_BATCH,
  type Projection,
  type ProjectionBatch,
  type ReadProjectedOptions,
  readProjected,
} from "./projection.ts";
import { ProjectorSession } from "./projector_session.ts";
import { PULL_EXPIRES_MS } from "./pulls.ts";

export interface ProjectorOptions {
  service: string;
  /** Durable consumers of a projection, which must exist (`ConsumerSpec.projection`). */
  consumers: readonly { stream: string; name: string }[];
  /** What is counted. */
  contracts: readonly Contract[];
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
 * Counts every message of some streams exactly once in a database, in the order of each stream.
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
  readonly #contracts: ReadonlyMap<string, Contract>;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #session: ProjectorSession | undefined;
  #held: Promise<void> | undefined;

  constructor(connection: NatsConnection, jsm: JetStreamManager, options: ProjectorOptions) {
    this.#connection = connection;
    this.#jsm = jsm;
    this.#options = options;
    this.#contracts = new Map(options.contracts.map((contract) => [contract.subject, contract]));
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
    for (const consumer of consumers) await this.#rewind(consumer, positions.get(consumer.stream) ?? 0);
    // Somebody has asked for it meanwhile, and may move the positions.
    if (this.#held !== undefined) return;
    const session = new ProjectorSession(signal);
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

  /** Has the consumer deliver what follows on `position`. */
  async #rewind({ stream, name }: { stream: string; name: string }, position: number): Promise<void> {
    const { state } = await this.#jsm.streams.info(stream);
    if (position > state.last_seq) {
      // The server would take it, and skip whatever is stored up to there.
      throw new ProjectionAheadError(
        `Cannot go on with ${stream}: ${position} of its messages are counted and it has ${state.last_seq}; ` +
          "was it restored from a backup? Rebuild the projection",
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
    for (let next = 1; !signal.aborted; ) {
      await session.room();
      if (signal.aborted) break;
      const messages = await consumer.fetch({ max_messages: PULL, expires: PULL_EXPIRES_MS });
      const stop = () => messages.stop();
      signal.addEventListener("abort", stop, { once: true });
      // It may have ended while the pull was sent.
      if (signal.aborted) stop();
      for await (const msg of messages) {
        if (signal.aborted) break;
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
        const prepared = await this.#prepare(deliveries);
        await storing;
        session.signal.throwIfAborted();
        storing = this.#apply(prepared, { positions, onProgress, started });
        // It may be long until somebody waits for it.
        storing.catch((cause) => session.fail(cause));
      }
    } finally {
      // Whatever ends this: who waits for the end may move the positions.
      await storing;
    }
  }

  /** What a message says is let go of as soon as the batch has what it counts of it: decoded, messages are large. */
  async #prepare(deliveries: readonly JsMsg[]): Promise<Prepared> {
    const { log, readable, projection } = this.#options;
    const batch = projection.begin();
    const counted: string[] = [];
    const parked: string[] = [];
    const last = new Map<string, JsMsg>();
    for (const msg of deliveries) {
      last.set(msg.info.stream, msg);
      const arrived = arrivedOf(msg, log);
      if (arrived === undefined) continue;
      const reading = readProjected(arrived, { contracts: this.#contracts, readable });
      const read = reading instanceof Promise ? await reading : reading;
      if (read.kind === "skipped") continue;
      const { seq, storedAt, letter } = arrived;
      const stream = letter?.stream ?? msg.info.stream;
      if (read.kind === "unreadable") {
        await this.#park(arrived, read.error);
        batch.park({ stream, seq });
        parked.push(splitSubject(arrived.subject).prefix);
        continue;
      }
      const { contract, id, value } = read;
      const redriven = letter !== undefined;
      if (redriven) await this.#markHandled(arrived);
      batch.add({ contract, id, value, stream, seq, storedAt, redriven });
      counted.push(contract.subject);
    }
    return { batch, counted, parked, last };
  }

  async #apply(
    { batch, counted, parked, last }: Prepared,
    {
      positions,
      onProgress,
      started,
    }: { positions: Map<string, number>; onProgress: () => void; started: number },
  ): Promise<void> {
    const advance = new Map(
      [...last].map(([stream, { seq }]) => [stream, { from: positions.get(stream) ?? 0, to: seq }]),
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

  /** @throws {Error} If it is not parked for sure. */
  async #park(arrived: Arrived, error: string): Promise<void> {
    const { service, log } = this.#options;
    const parked = await giveUp(this.#connection, arrived, { service, error });
    const { subject, seq } = arrived;
    if (parked.kind !== "committed" && parked.kind !== "conflict") {
      throw new Error(`Cannot park message ${seq} (${subject}): ${parked.kind}`, { cause: parked });
    }
    log.error({ subject, seq, error }, "parked as a dead letter");
  }

  /**
   * Before it is counted: the position does not pass it until it is, whatever happens, so that this comes true. Afterwards
   * nobody would come back to say so.
   */
  async #markHandled({ letter, subject, seq }: Arrived): Promise<void> {
    if (letter === undefined) return;
    const changed = await changeLetter(this.#connection, letter, { status: "handled" });
    if (changed.kind !== "committed" && changed.kind !== "conflict") {
      throw new Error(`Cannot mark dead letter ${letter.id} as handled: ${changed.kind}`, { cause: changed });
    }
    this.#options.log.info(
      { subject, seq, letter: letter.id, by: letter.by },
      "handled a redriven dead letter",
    );
  }
}

/** What deliveries came to: the subjects of their messages, without ids, and of each stream the last delivery. */
interface Prepared {
  readonly batch: ProjectionBatch;
  readonly counted: readonly string[];
  readonly parked: readonly string[];
  readonly last: ReadonlyMap<string, JsMsg>;
}
