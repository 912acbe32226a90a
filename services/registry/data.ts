import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type Log, olderText, pause, SCHEMAS_STREAM, StoreMemory } from "../../nats/mod.ts";

const LOOK_EVERY_MS = 5_000;

/** Whether the registry's data are there. It answers about what is there in any case; without all of it, it is not ready. */
export class RegistryData {
  readonly #memory: StoreMemory;
  readonly #log: Log;
  #whole = false;
  #told = "";

  constructor({ connection, jsm, log }: { connection: NatsConnection; jsm: JetStreamManager; log: Log }) {
    this.#memory = new StoreMemory({ connection, jsm }, [SCHEMAS_STREAM]);
    this.#log = log;
  }

  /** Whether there are schemas, and no fewer than this process has seen. */
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
    const isEmpty = (this.#memory.remembered[0]?.seq ?? 0) === 0;
    this.#whole = older.length === 0 && !isEmpty;
    const text = older.length > 0 ? olderText(older) : isEmpty ? "no schema is registered yet" : "";
    if (text !== "" && text !== this.#told) this.#log.warn({ stream: SCHEMAS_STREAM }, text);
    this.#told = text;
  }
}
