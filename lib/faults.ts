import { setTimeout as sleep } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import type { MiddlewareHandler } from "hono";
import { Gauge, type Registry } from "prom-client";
import { type Log, pause, readPage } from "../nats/mod.ts";
import {
  FAULT_METRIC,
  FAULTS,
  FAULTS_STREAM,
  type FaultKind,
  faultsOf,
  readFault,
} from "./fault_settings.ts";
import { alwaysAnswered } from "./limits.ts";
import { Problem } from "./problem.ts";

/** A demonstration waits so long for what was set. */
const POLL_MS = 1_000;
/** While a service is down, what it holds looks this often whether it is up again. */
const DOWN_POLL_MS = 100;

/**
 * What was set to go wrong in one service, for demonstrations: `npm run ops -- fault set payment.latency=5s`. Read once a
 * second from the bucket that the operator writes. There is none of it unless `FAULTS=on`.
 */
export class Faults implements AsyncDisposable {
  readonly #service: string;
  readonly #log: Log;
  readonly #stopping = new AbortController();
  readonly #polling: Promise<void>;
  #values: ReadonlyMap<FaultKind, number> = new Map();

  constructor(
    connection: NatsConnection,
    { service, log, registry }: { service: string; log: Log; registry: Registry },
  ) {
    this.#service = service;
    this.#log = log;
    const kinds = faultsOf(service);
    const value = (kind: FaultKind) => this.value(kind);
    new Gauge({
      name: FAULT_METRIC,
      help: "What an operator has set to go wrong: 1 for what is on, milliseconds, or a share; 0 for nothing",
      labelNames: ["kind"],
      registers: [registry],
      collect() {
        for (const kind of kinds) this.set({ kind }, value(kind));
      },
    });
    log.warn({}, "FAULTS=on: an operator can make this service fail, for demonstrations");
    this.#polling = this.#poll(connection);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#polling;
  }

  /** The value of a fault, 0 while it is not set. */
  value(kind: FaultKind): number {
    return this.#values.get(kind) ?? 0;
  }

  /**
   * What a delivery goes through before it is handled: a wait, for as long as the service is down, then so long as it is slow.
   * @throws {Error} For the share of deliveries that is to fail.
   */
  async disturb(signal: AbortSignal): Promise<void> {
    while (this.value("down") > 0 && !signal.aborted) await pause(DOWN_POLL_MS, signal);
    await pause(this.value("latency"), signal);
    if (Math.random() < this.value("error_rate")) throw new Error(`set to fail: ${this.#service}.error_rate`);
  }

  /** The same for requests: 503 while the service is down. */
  readonly middleware: MiddlewareHandler = async (context, next) => {
    if (!alwaysAnswered.has(context.req.path)) {
      if (this.value("down") > 0) {
        throw new Problem(503, "down", {
          title: "Down",
          detail: `${this.#service}.down is set: npm run ops -- fault clear ${this.#service}.down`,
          headers: { "retry-after": "1" },
        });
      }
      await sleep(this.value("latency"));
    }
    return next();
  };

  async #poll(connection: NatsConnection): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        this.#take(await readFaults(connection, this.#service));
      } catch (cause) {
        if (!signal.aborted) this.#log.warn({ err: cause }, "cannot read which faults are set, trying again");
      }
      await pause(POLL_MS, signal);
    }
  }

  #take(settings: ReadonlyMap<string, string>): void {
    const values = new Map<FaultKind, number>();
    for (const [name, text] of settings) {
      try {
        const { kind, value } = readFault(name, text, [this.#service]);
        values.set(kind, value);
      } catch (cause) {
        this.#log.warn({ err: cause }, "a fault that is set makes no sense");
      }
    }
    const changed = [...new Set([...values.keys(), ...this.#values.keys()])].filter((kind) => {
      return values.get(kind) !== this.#values.get(kind);
    });
    for (const kind of changed) {
      this.#log.warn(
        { fault: kind, value: values.get(kind) ?? 0 },
        `${this.#service}.${kind} is set otherwise now`,
      );
    }
    this.#values = values;
  }
}

/** Faults that are set, as `name → value`; of all services, or of one. */
export async function readFaults(connection: NatsConnection, service = "*"): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const subject = `$KV.${FAULTS}.${service}.*`;
  const { messages } = await readPage(connection, FAULTS_STREAM, { subject, from: 1 });
  for (const { subject: key, data } of messages) {
    const text = Buffer.from(data).toString();
    // What was cleared is an empty value.
    if (text !== "") found.set(key.slice(`$KV.${FAULTS}.`.length), text);
  }
  return found;
}
