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
} from "./projection.ts";

export interface BatchReaderOptions {
  service: string;
  contracts: readonly Contract[];
  /** Those of `contracts` of which a message says all that the messages before it on its subject have said. */
  snapshots: readonly Contract[];
  projection: Pick<Projection, "begin">;
  readable: ReadProjectedOptions["readable"];
  log: Log;
}

/** What deliveries came to: the subjects of their messages, without ids, and of each stream the last delivery. */
export interface ReadBatch {
  readonly batch: ProjectionBatch;
  readonly counted: readonly string[];
  readonly parked: readonly string[];
  readonly last: ReadonlyMap<string, JsMsg>;
}

type Reading = { batch: ProjectionBatch; counted: string[]; parked: string[] };

/**
 * Makes batches of what is delivered to a projection. What cannot be read is parked as a dead letter.
 *
 * Of several snapshots of one subject in a batch the last that can be read is counted, in place of those before it: reading
 * them all would be the largest part of the work, and say nothing more.
 */
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

  /** @throws {Error} If a message cannot be told from one that cannot be read now, or is not parked for sure. */
  async read(deliveries: readonly JsMsg[]): Promise<ReadBatch> {
    const reading: Reading = { batch: this.#options.projection.begin(), counted: [], parked: [] };
    const last = new Map<string, JsMsg>();
    const snapshots = new Map<string, JsMsg[]>();
    for (const msg of deliveries) {
      last.set(msg.info.stream, msg);
      const { subject } = msg;
      if (this.#snapshots.has(splitSubject(subject).prefix)) {
        const known = snapshots.get(subject);
        if (known === undefined) snapshots.set(subject, [msg]);
        else known.push(msg);
        continue;
      }
      const taking = this.#take(msg, reading);
      if (taking instanceof Promise) await taking;
    }
    for (const versions of snapshots.values()) {
      let taken = false;
      for (let msg = versions.pop(); msg !== undefined && !taken; msg = versions.pop()) {
        taken = await this.#take(msg, reading, { standsFor: versions.length });
      }
    }
    return { ...reading, last };
  }

  /** @returns Whether it is counted. At once if nothing is to be asked for, as for nearly all: they are many. */
  #take(msg: JsMsg, reading: Reading, { standsFor } = { standsFor: 0 }): boolean | Promise<boolean> {
    const { log, readable } = this.#options;
    const arrived = arrivedOf(msg, log);
    if (arrived === undefined) return false;
    const keep = (read: ReadResult) => this.#keep(arrived, { read, reading, standsFor });
    const read = readProjected(arrived, { contracts: this.#contracts, readable });
    return read instanceof Promise ? read.then(keep) : keep(read);
  }

  /** What a message says is let go of as soon as the batch has what it counts of it: decoded, messages are large. */
  #keep(
    arrived: Arrived,
    { read, reading, standsFor }: { read: ReadResult; reading: Reading; standsFor: number },
  ): boolean | Promise<boolean> {
    if (read.kind === "skipped") return false;
    const { msg, seq, storedAt, letter } = arrived;
    const stream = letter?.stream ?? msg.info.stream;
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
