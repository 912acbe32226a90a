import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type Log,
  olderText,
  orMissing,
  pause,
  SCHEMAS_STREAM,
  StoreMemory,
  topology,
} from "../../nats/mod.ts";

const LOOK_EVERY_MS = 5_000;
const LOST =
  "there are messages and no schemas: they are lost. Services register theirs again; those of older messages are in a backup";
/** Streams whose messages name schemas. */
const ledgers = topology.streams.filter(({ owner }) => owner !== undefined);

/** Whether the registry's data are there. It answers about what is there in any case; without all of it, it is not ready. */
export class RegistryData {
  readonly #memory: StoreMemory;
  readonly #jsm: JetStreamManager;
  readonly #log: Log;
  #whole = false;
  #told = "";

  constructor({ connection, jsm, log }: { connection: NatsConnection; jsm: JetStreamManager; log: Log }) {
    this.#memory = new StoreMemory({ connection, jsm }, [SCHEMAS_STREAM]);
    this.#jsm = jsm;
    this.#log = log;
  }

  /** Whether no schema is missing: there are no fewer than this process has seen, and some if there is any message. */
  get whole(): boolean {
    return this.#whole;
  }

  /** Looks every few seconds until `signal` aborts. */
  async watch(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await pause(LOOK_EVERY_MS, signal)) {
      try {
        await this.look();
      } catch (cause) {
        if (!signal.aborted) this.#log.warn({ err: cause }, "cannot tell whether the schemas are there");
      }
    }
  }

  /** @throws {Error} If the server does not answer. */
  async look(): Promise<void> {
    const older = await this.#memory.look();
    const isLost = older.length === 0 && (await this.#isLost());
    this.#whole = older.length === 0 && !isLost;
    const text = older.length > 0 ? olderText(older) : isLost ? LOST : "";
    if (text !== "" && text !== this.#told) this.#log.error({ stream: SCHEMAS_STREAM }, text);
    this.#told = text;
  }

  /** Nobody stores a message before its schema is registered. */
  async #isLost(): Promise<boolean> {
    if ((this.#memory.remembered[0]?.seq ?? 0) > 0) return false;
    const infos = await Promise.all(ledgers.map(({ name }) => orMissing(this.#jsm.streams.info(name))));
    return infos.some((info) => (info?.state.messages ?? 0) > 0);
  }
}
