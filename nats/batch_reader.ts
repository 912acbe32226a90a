import type { JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Log } from "./connection.ts";
import { type Contract, splitSubject } from "./contracts/contract.ts";
import { changeLetter } from "./dead_letter.ts";
import { type Arrived, arrivedOf, giveUp } from "./incoming.ts";
import {
  type Projection,
  type ProjectionBatch,
  type ReadProjectedOptions,
  type ReadResult,
  readProjected,
  takeEach,
} from "./projection.ts";

export interface BatchReaderOptions {
  service: string;
  contracts: readonly Contract[];
  /** Those of `contracts` of which each message says all that those before it on its subject have said. */
  snapshots: readonly Contract[];
  projection: Pick<Projection, "begin">;
  readable?: ReadProjectedOptions["readable"];
  log: Log;
}

/**
 * What deliveries came to: the subjects of their messages, without ids, those included that a snapshot stands for, and of each
 * stream the last delivery.
 */
export interface ReadBatch {
  readonly batch: ProjectionBatch;
  readonly counted: readonly string[];
  readonly parked: readonly string[];
  readonly last: ReadonlyMap<string, JsMsg>;
}

type Reading = { batch: ProjectionBatch; counted: string[]; parked: string[] };

/** Makes batches of what is delivered to a projection. What is read and cannot be is parked as a dead letter. */
export class BatchReader {
  readonly #connection: NatsConnection;
  readonly #options: BatchReaderOptions;
  readonly #contracts: ReadonlyMap<string, Contract>;
  readonly #snapshots: ReadonlySet<string>;

  constructor(connection: NatsConnection, options: BatchReaderOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#contracts = new Map(options.contracts.map((contract) => [contract.subject, contract]));
    this.#snapshots = new Set(options.snapshots.map(({ subject }) => subject));
  }

  /** @throws {Error} If it cannot be told now whether a message can be read, or one that cannot is not parked for sure. */
  async read(deliveries: readonly JsMsg[]): Promise<ReadBatch> {
    const { log, projection } = this.#options;
    const reading: Reading = { batch: projection.begin(), counted: [], parked: [] };
    const last = new Map(deliveries.map((msg) => [msg.info.stream, msg]));
    const arrived = deliveries.flatMap((msg) => arrivedOf(msg, log) ?? []);
    await takeEach(arrived, this.#snapshots, (one, standsFor) => this.#take(one, { reading, standsFor }));
    return { ...reading, last };
  }

  /** @returns Whether it is counted. At once if nothing is to be asked for, as for nearly all: they are many. */
  #take(arrived: Arrived, into: { reading: Reading; standsFor: number }): boolean | Promise<boolean> {
    const { readable } = this.#options;
    const keep = (read: ReadResult) => this.#keep(arrived, { read, ...into });
    const read = readProjected(arrived, { contracts: this.#contracts, readable });
    return read instanceof Promise ? read.then(keep) : keep(read);
  }

  /** What a message says is let go of as soon as the batch has what it counts of it: decoded, messages are large. */
  #keep(
    arrived: Arrived,
    { read, reading, standsFor }: { read: ReadResult; reading: Reading; standsFor: number },
  ): boolean | Promise<boolean> {
    if (read.kind === "skipped") return false;
    const { stream, seq, storedAt, letter } = arrived;
    const { batch, counted, parked } = reading;
    if (read.kind === "unreadable") {
      return this.#park(arrived, read.error).then(() => {
        batch.park({ stream, seq });
        parked.push(splitSubject(arrived.subject).prefix);
        return false;
      });
    }
    const { contract, id, value } = read;
    const add = (redriven: boolean) => {
      batch.add({ contract, id, value, stream, seq, storedAt, redriven });
      for (let n = 0; n <= standsFor; n++) counted.push(contract.subject);
      return true;
    };
    return letter === undefined ? add(false) : this.#markHandled(arrived).then(() => add(true));
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
