import { setTimeout as sleep } from "node:timers/promises";
import type { JetStreamClient, JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { Attempts, type MAX_THROWS } from "./attempts.ts";
import type { Log } from "./connection.ts";
import type { ConsumerName } from "./consumer_name.ts";
import { splitSubject } from "./contracts/contract.ts";
import type { AnyHandler } from "./handler.ts";
import { type Arrived, arrivedOf, type Incoming, traceOf } from "./incoming.ts";
import type { Ledger } from "./ledger.ts";
import { Pulls } from "./pulls.ts";
import type { Readable } from "./read_message.ts";
import { Replays } from "./replays.ts";
import { fieldsOf } from "./settle.ts";
import { endProcess, startProcess } from "./spans.ts";
import { isSampled } from "./trace.ts";
import type { Tracer } from "./tracer.ts";
import type { WaitingContracts } from "./waiting.ts";

export interface ProcessorOptions {
  service: string;
  /** Durable pull consumers, which must exist. What is replayed to one with `effects` is not handled again. */
  consumers: readonly (ConsumerName & { readonly effects?: string | undefined })[];
  handlers: readonly AnyHandler[];
  log: Log;
  /** Nothing is taken before it resolves, nor if it rejects. Default: at once. */
  opened?: Promise<unknown>;
  /** Where messages wait for somebody outside the shop. Default: handlers never answer with `wait`. */
  waiting?: WaitingContracts | undefined;
  /** Default: whatever can be decoded is read. */
  readable?: Readable;
  /** What each delivery goes through before it is handled: it may wait, or throw. Default: nothing. */
  disturb?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Clock of the decisions. Default: the system's. */
  now?: () => Date;
  /** How often the server is told that slow work is still under way. Default 3,000: `ack_wait` is 10 s. */
  workingEveryMs?: number;
  /** How long it trusts what it has read of replays. Default 6,000: less than a replay waits. */
  markTrustMs?: number;
  /** Where the handling of sampled messages is recorded. Default: nowhere. */
  tracer?: Tracer | undefined;
  /** What the log says of a message besides its subject and trace, by the subject's id. */
  describe?: (id: string) => object;
  /**
   * Told of every delivery once it is dealt with, for metrics and the log: its subject without the id, and what a log line
   * says of it.
   */
  onDelivery?: (delivery: {
    subject: string;
    fields(): object;
    outcome: string;
    redelivered: boolean;
    ms: number;
  }) => void;
}

/** Less than half of the consumers' `ack_wait` (10 s), so that slow work is not delivered twice. */
const WORKING_EVERY_MS = 3_000;
/** Deliveries have come to an end when there was none for so long, and none is under way whose end makes room for more. */
const QUIET_MS = 100;
/** Deliveries that do not come to an end are given up after this. */
const DRAIN_MS = 1_000;

/**
 * Takes messages from the service's durable consumers, decides on the state of their keys, commits through the ledger,
 * and acknowledges after the commit.
 *
 * At least once and in stream order on delivery, exactly once in effect: what was decided before is visible in the
 * state when the message comes again. Order is kept per key within a process until a message has to be retried.
 * All consumers share the ledger's group commit.
 *
 * A message that names a schema which this build cannot read, that cannot be decoded, has no handler, or whose handler throws
 * {@linkcode MAX_THROWS} times, is parked as a dead letter and acknowledged. Nothing is ever acknowledged for having failed.
 * A dead letter that an operator redrives comes back by the service's consumer of `DEAD_LETTER`, and is handled like any other
 * message.
 *
 * What is replayed (`ops replay`) is handled again where that has no effect outside the shop, and else acknowledged without
 * being handled: nothing is captured, shipped or sent again, whatever the state has kept of it.
 */
export class Processor implements AsyncDisposable {
  readonly #options: ProcessorOptions;
  readonly #pulls: Pulls;
  readonly #replays: Replays;
  readonly #attempts: Attempts;
  /** No more work is taken. */
  readonly #stopping = new AbortController();
  /** No more work is done. */
  readonly #stopped = new AbortController();
  readonly #underWay = new Map<JsMsg, number>();
  #lastDelivery = 0;
  readonly #heartbeat: NodeJS.Timeout;

  constructor(connection: NatsConnection, js: JetStreamClient, ledger: Ledger, options: ProcessorOptions) {
    this.#options = options;
    const { consumers, log, opened } = options;
    const [stopping, stopped] = [this.#stopping.signal, this.#stopped.signal];
    this.#attempts = new Attempts({ ...options, connection, ledger, stopping, stopped });
    this.#replays = new Replays(connection, { log, trustMs: options.markTrustMs });
    this.#pulls = new Pulls(js, {
      log,
      receive: (msg) => void this.#receive(msg),
      beforePull: (consumer) => this.#replays.refresh(consumer),
      beforeReceive: (consumer) => this.#replays.ready(consumer),
    });
    if (opened === undefined) this.#pulls.begin(consumers);
    else
      opened.then(
        () => this.#pulls.begin(consumers),
        () => this.#stop(),
      );
    const every = options.workingEveryMs ?? WORKING_EVERY_MS;
    this.#heartbeat = setInterval(() => this.#extend(every / 2), every);
  }

  /** Whether every consumer is being pulled from. */
  get ready(): boolean {
    return this.#pulls.open === this.#options.consumers.length && !this.#stopping.signal.aborted;
  }

  /**
   * Stops pulling, waits for the messages under way, `graceMs` at most (default 4,000), and gives those that are
   * left back to the server, which delivers them again at once.
   */
  async shutdown(options: { graceMs?: number } = {}): Promise<void> {
    const deadline = performance.now() + (options.graceMs ?? 4_000);
    this.#stop();
    // What is on its way when a pull is given up is lost until `ack_wait` is over. No pull is renewed from here on, so
    // that deliveries come to an end by themselves: where messages wait, as soon as the pull is used up.
    const drained = performance.now() + DRAIN_MS;
    this.#lastDelivery = performance.now();
    const quiet = () =>
      this.#pulls.idle && this.#underWay.size === 0 && performance.now() > this.#lastDelivery + QUIET_MS;
    while (this.#pulls.open > 0 && !quiet() && performance.now() < drained) await sleep(10);
    this.#pulls.stop();
    while (this.#underWay.size > 0 && performance.now() < deadline) await sleep(10);
    this.#stopped.abort();
    for (const msg of this.#underWay.keys()) msg.nak();
    clearInterval(this.#heartbeat);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  #stop(): void {
    this.#stopping.abort();
    this.#pulls.end();
  }

  async #receive(msg: JsMsg): Promise<void> {
    const started = performance.now();
    this.#lastDelivery = started;
    this.#underWay.set(msg, started);
    // At once: what is known of replays is trusted for a while only.
    const place = this.#replays.placeOf(msg);
    const { log, waiting } = this.#options;
    const arrived = arrivedOf(msg, log, waiting);
    if (arrived === undefined) {
      msg.ack();
      this.#underWay.delete(msg);
      return;
    }
    const incoming = this.#traced(arrived);
    let outcome = "error";
    try {
      outcome = await this.#attempts.attempt(incoming, place);
    } finally {
      this.#underWay.delete(msg);
      if (incoming.span !== undefined) endProcess(incoming.span, outcome);
      this.#options.onDelivery?.({
        subject: splitSubject(incoming.subject).prefix,
        fields: () => fieldsOf(incoming, this.#options),
        outcome,
        redelivered: msg.redelivered,
        ms: performance.now() - started,
      });
    }
  }

  /** What is done about a message of a sampled trace is done in a span of its own. */
  #traced(arrived: Arrived): Incoming {
    const { tracer } = this.#options;
    const incoming = { ...arrived, trace: traceOf(arrived) };
    if (tracer === undefined || !isSampled(incoming.trace)) return incoming;
    const span = startProcess(tracer, incoming);
    return { ...incoming, trace: span.trace, span };
  }

  /** Tells the server that slow work is still under way. */
  #extend(sinceMs: number): void {
    const old = performance.now() - sinceMs;
    for (const [msg, since] of this.#underWay) if (since < old) msg.working();
  }
}
