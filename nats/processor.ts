import { setTimeout as sleep } from "node:timers/promises";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { ConsumerMessages, JetStreamClient, JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Log } from "./connection.ts";
import { type Contract, decode, splitSubject } from "./contracts/contract.ts";
import { changeLetter } from "./dead_letter.ts";
import type { AnyHandler, Delivery, Outcome } from "./handler.ts";
import { giveUp, type Incoming, incomingOf } from "./incoming.ts";
import type { Ledger } from "./ledger.ts";
import { isUnavailable } from "./link.ts";
import { backoffMs, pause } from "./pause.ts";
import { endProcess, failWith, inEffectSpan, startProcess } from "./spans.ts";
import { LedgerBusyError, LedgerTimeoutError, type View } from "./task.ts";
import { isSampled, traceId } from "./trace.ts";
import type { Tracer } from "./tracer.ts";

export interface ProcessorOptions {
  service: string;
  /** Durable pull consumers, which must exist. */
  consumers: readonly { stream: string; name: string }[];
  handlers: readonly AnyHandler[];
  log: Log;
  /** Nothing is taken before it resolves, nor if it rejects. Default: at once. */
  opened?: Promise<unknown>;
  /**
   * Says why a message of a contract must not be read, by the schema that it names; undefined if it may (see `ReadGate`).
   * Default: whatever can be decoded is read.
   */
  readable?: (contract: Contract, dataSchema: string) => string | undefined | Promise<string | undefined>;
  /** What each delivery goes through before it is handled: it may wait, or throw. Default: nothing. */
  disturb?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Clock of the decisions. Default: the system's. */
  now?: () => Date;
  /** How often the server is told that slow work is still under way. Default 3,000: `ack_wait` is 10 s. */
  workingEveryMs?: number;
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

/** Messages that wait in this process, per consumer; the consumer's `max_ack_pending` bounds those under way. */
const PREFETCH = 500;
/** A pull is renewed this often: one that got lost on the way leaves a consumer deaf until then. */
const PULL_EXPIRES_MS = 5_000;
/** Less than half of the consumers' `ack_wait` (10 s), so that slow work is not delivered twice. */
const WORKING_EVERY_MS = 3_000;
/** A handler that throws this often for one message is not going to stop. */
const MAX_THROWS = 5;
/** Messages whose throws are counted at a time. */
const MAX_COUNTED = 10_000;
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
 * A message that names a schema which this build cannot read, that cannot be decoded, has no handler, or whose handler throws {@linkcode MAX_THROWS} times, is parked
 * as a dead letter and acknowledged. Nothing is ever acknowledged for having failed. A dead letter that an operator
 * redrives comes back by the service's consumer of `DEAD_LETTER`, and is handled like any other message.
 */
export class Processor implements AsyncDisposable {
  readonly #connection: NatsConnection;
  readonly #js: JetStreamClient;
  readonly #ledger: Ledger;
  readonly #options: ProcessorOptions;
  readonly #handlers: ReadonlyMap<string, AnyHandler>;
  /** No more work is taken. */
  readonly #stopping = new AbortController();
  /** No more work is done. */
  readonly #stopped = new AbortController();
  readonly #throws = new Map<string, number>();
  readonly #underWay = new Map<JsMsg, number>();
  readonly #turns = new Map<string, Promise<void>>();
  readonly #open = new Map<string, ConsumerMessages>();
  #lastDelivery = 0;
  readonly #heartbeat: NodeJS.Timeout;

  constructor(connection: NatsConnection, js: JetStreamClient, ledger: Ledger, options: ProcessorOptions) {
    this.#connection = connection;
    this.#js = js;
    this.#ledger = ledger;
    this.#options = options;
    this.#handlers = new Map(options.handlers.map((handler) => [handler.contract.subject, handler]));
    const begin = () => {
      for (const consumer of options.consumers) void this.#consume(consumer);
    };
    if (options.opened === undefined) begin();
    else options.opened.then(begin, () => this.#stopping.abort());
    const every = options.workingEveryMs ?? WORKING_EVERY_MS;
    this.#heartbeat = setInterval(() => this.#extend(every / 2), every);
  }

  /** Whether every consumer is being pulled from. */
  get ready(): boolean {
    return this.#open.size === this.#options.consumers.length && !this.#stopping.signal.aborted;
  }

  /**
   * Stops pulling, waits for the messages under way, `graceMs` at most (default 4,000), and gives those that are
   * left back to the server, which delivers them again at once.
   */
  async shutdown(options: { graceMs?: number } = {}): Promise<void> {
    const deadline = performance.now() + (options.graceMs ?? 4_000);
    this.#stopping.abort();
    // What is on its way when a pull is given up is lost until `ack_wait` is over. No pull is renewed from here on, so
    // that deliveries come to an end by themselves: where messages wait, as soon as the pull is used up.
    const drained = performance.now() + DRAIN_MS;
    this.#lastDelivery = performance.now();
    const quiet = () => this.#underWay.size === 0 && performance.now() > this.#lastDelivery + QUIET_MS;
    while (this.#open.size > 0 && !quiet() && performance.now() < drained) await sleep(10);
    for (const messages of this.#open.values()) messages.stop();
    while (this.#underWay.size > 0 && performance.now() < deadline) await sleep(10);
    this.#stopped.abort();
    for (const msg of this.#underWay.keys()) msg.nak();
    clearInterval(this.#heartbeat);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  /** Pulls from one consumer until shutdown, whatever happens to the connection or to the consumer. */
  async #consume(source: { stream: string; name: string }): Promise<void> {
    const { log } = this.#options;
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
          for await (const msg of messages) {
            this.#lastDelivery = performance.now();
            void this.#receive(msg);
          }
          failures = 0;
        }
      } catch (cause) {
        failures += 1;
        if (!signal.aborted) log.warn({ err: cause, consumer: name }, "cannot consume, trying again");
        this.#open.delete(name);
        await pause(backoffMs(failures), signal);
      }
    }
    this.#open.delete(name);
  }

  async #receive(msg: JsMsg): Promise<void> {
    const started = performance.now();
    this.#underWay.set(msg, started);
    const arrived = incomingOf(msg, this.#options.log);
    if (arrived === undefined) {
      msg.ack();
      this.#underWay.delete(msg);
      return;
    }
    const incoming = this.#traced(arrived);
    let outcome = "error";
    try {
      outcome = await this.#attempt(incoming);
    } finally {
      this.#underWay.delete(msg);
      if (incoming.span !== undefined) endProcess(incoming.span, outcome);
      this.#options.onDelivery?.({
        subject: splitSubject(incoming.subject).prefix,
        fields: () => this.#fields(incoming),
        outcome,
        redelivered: msg.redelivered,
        ms: performance.now() - started,
      });
    }
  }

  /** What is done about a message of a sampled trace is done in a span of its own. */
  #traced(incoming: Incoming): Incoming {
    const { tracer } = this.#options;
    if (tracer === undefined || !isSampled(incoming.trace)) return incoming;
    const span = startProcess(tracer, incoming);
    return { ...incoming, trace: span.trace, span };
  }

  async #attempt(incoming: Incoming): Promise<string> {
    const hindered = this.#options.disturb && (await this.#hindered(incoming, this.#options.disturb));
    if (hindered !== undefined) return hindered;
    try {
      const outcome = await this.#handle(incoming);
      if (outcome === "done" || outcome === "dead") this.#throws.delete(idOf(incoming.msg));
      return outcome;
    } catch (cause) {
      return this.#afterThrow(incoming, cause);
    }
  }

  /** What a delivery ends as that is not even handled: it comes again, and that is not its fault. */
  async #hindered(
    { msg }: Incoming,
    disturb: (signal: AbortSignal) => Promise<void>,
  ): Promise<string | undefined> {
    try {
      await disturb(this.#stopping.signal);
    } catch (cause) {
      this.#options.log.warn({ err: cause, subject: msg.subject }, "a delivery was disturbed");
      msg.nak(backoffMs(msg.info.deliveryCount));
      return "error";
    }
    if (!this.#stopping.signal.aborted) return undefined;
    msg.nak();
    return "stopped";
  }

  async #handle(incoming: Incoming): Promise<string> {
    if (incoming.forged) return this.#park(incoming, "not written by the owner of its stream");
    const { prefix, id } = splitSubject(incoming.subject);
    const handler = this.#handlers.get(prefix);
    if (handler === undefined) return this.#park(incoming, `no handler for ${prefix}`);
    const verdict = this.#options.readable?.(handler.contract, incoming.dataSchema);
    let unreadable: string | undefined;
    try {
      unreadable = verdict instanceof Promise ? await verdict : verdict;
    } catch (cause) {
      // Nothing is known of the message, so nothing counts against it.
      this.#options.log.warn(
        { ...this.#fields(incoming), err: cause },
        "cannot look up a schema, trying again",
      );
      incoming.msg.nak(backoffMs(incoming.msg.info.deliveryCount));
      return "error";
    }
    if (unreadable !== undefined) return this.#park(incoming, `unreadable: ${unreadable}`);
    let value: MessageShape<DescMessage>;
    try {
      value = decode(handler.contract, incoming.data);
    } catch (cause) {
      return this.#park(incoming, `cannot be decoded as ${handler.contract.schema.typeName}: ${cause}`);
    }
    if (handler.perform === undefined) return this.#run(incoming, handler, value, id);
    return this.#inTurn(id, () => this.#run(incoming, handler, value, id));
  }

  /** Decides and commits, performs the effect if there is one and concludes, until nothing is left; then settles. */
  async #run(
    incoming: Incoming,
    handler: AnyHandler,
    value: MessageShape<DescMessage>,
    id: string,
  ): Promise<string> {
    const { msg, seq, storedAt, trace, letter } = incoming;
    // What was redriven has been tried before, by the consumer that parked it.
    const attempt = msg.info.deliveryCount + (letter === undefined ? 0 : 1);
    const delivery = (): Delivery => ({
      id,
      now: this.#options.now?.() ?? new Date(),
      storedAt,
      seq,
      attempt,
      trace,
    });
    const keys = handler.keys(value, id);
    // What was delivered before may well have been stored before.
    const begun = attempt > 1 ? [] : (handler.begins?.(value, id) ?? []);
    const begins = begun.map(({ subject }) => subject);
    const commit = (decide: (view: View) => Outcome<unknown>) => {
      return this.#ledger.execute({
        keys,
        begins,
        trace,
        decide: (view) => {
          const outcome = decide(view);
          return { messages: "messages" in outcome ? outcome.messages : [], result: outcome };
        },
      });
    };
    let outcome = await commit((view) => handler.decide(view, value, delivery()));
    while (outcome.kind === "perform") {
      if (handler.perform === undefined || handler.conclude === undefined) {
        throw new TypeError(
          `Cannot perform an effect of ${handler.contract.subject}: the handler has no perform()`,
        );
      }
      const { signal } = this.#stopped;
      signal.throwIfAborted();
      const result = await this.#perform(incoming, handler, { effect: outcome.effect, signal, attempt });
      outcome = await commit(
        (view) => handler.conclude?.(view, value, result, delivery()) as Outcome<unknown>,
      );
    }
    switch (outcome.kind) {
      case "done":
        return this.#finish(incoming);
      case "retry":
        this.#options.log.info({ ...this.#fields(incoming), reason: outcome.reason }, "trying again later");
        incoming.span?.set({ "shop.reason": outcome.reason });
        msg.nak(Math.round(outcome.delayMs));
        return "retry";
      case "dead":
        return this.#park(incoming, outcome.reason);
      default:
        return outcome satisfies never;
    }
  }

  async #perform(
    { subject, trace, span }: Incoming,
    handler: AnyHandler,
    { effect, ...options }: { effect: unknown; signal: AbortSignal; attempt: number },
  ): Promise<unknown> {
    const { tracer } = this.#options;
    const perform = async () => handler.perform?.(effect, options);
    if (tracer === undefined || span === undefined) return perform();
    const described = handler.describe?.(effect) ?? { name: `perform ${splitSubject(subject).prefix}` };
    return inEffectSpan(tracer, described, { parent: trace, perform });
  }

  async #afterThrow(incoming: Incoming, cause: unknown): Promise<string> {
    const { msg, span } = incoming;
    if (span !== undefined) failWith(span, cause);
    const { deliveryCount } = msg.info;
    if (this.#stopping.signal.aborted) {
      msg.nak();
      return "stopped";
    }
    this.#options.log.error({ ...this.#fields(incoming), err: cause }, "cannot handle a message");
    // That the ledger has too much to do, or NATS cannot answer, is not the message's fault.
    const busy = cause instanceof LedgerBusyError || cause instanceof LedgerTimeoutError;
    if (busy || isUnavailable(cause)) {
      msg.nak(backoffMs(deliveryCount));
      return "error";
    }
    // Deliveries are no measure: a message may have been left for later any number of times.
    const throws = (this.#throws.get(idOf(msg)) ?? 0) + 1;
    if (throws >= MAX_THROWS) {
      const outcome = await this.#park(incoming, cause instanceof Error ? cause.message : String(cause));
      if (outcome === "dead") this.#throws.delete(idOf(msg));
      return outcome;
    }
    this.#throws.set(idOf(msg), throws);
    if (this.#throws.size > MAX_COUNTED) {
      const [oldest] = this.#throws.keys();
      if (oldest !== undefined) this.#throws.delete(oldest);
    }
    msg.nak(backoffMs(throws));
    return "error";
  }

  /** Acknowledges what was handled. That a redriven letter was is stored before. */
  async #finish(incoming: Incoming): Promise<string> {
    const { msg, letter } = incoming;
    if (letter === undefined) {
      msg.ack();
      return "done";
    }
    const fields = { ...this.#fields(incoming), letter: letter.id, by: letter.by };
    const changed = await changeLetter(this.#connection, letter, { status: "handled" });
    if (changed.kind === "committed" || changed.kind === "conflict") {
      this.#options.log.info(fields, "handled a redriven dead letter");
      msg.ack();
      return "done";
    }
    this.#options.log.error({ ...fields, changed }, "cannot mark a dead letter as handled, trying again");
    msg.nak(backoffMs(msg.info.deliveryCount));
    return "error";
  }

  async #park(incoming: Incoming, error: string): Promise<string> {
    const { service, log } = this.#options;
    const { msg, seq, letter } = incoming;
    incoming.span?.set({ "shop.reason": error });
    const parked = await giveUp(this.#connection, incoming, { service, error });
    const { consumer } = msg.info;
    const fields = { ...this.#fields(incoming), seq, consumer, error, ...(letter && { letter: letter.id }) };
    if (parked.kind === "committed" || parked.kind === "conflict") {
      log.error(fields, "parked as a dead letter");
      msg.ack();
      return "dead";
    }
    log.error({ ...fields, parked }, "cannot park a dead letter, trying again");
    msg.nak(backoffMs(msg.info.deliveryCount));
    return "error";
  }

  /** What every log line about a message says. */
  #fields(incoming: Incoming): object {
    const { subject, msg } = incoming;
    return {
      subject,
      attempt: msg.info.deliveryCount,
      trace_id: traceId(incoming.trace),
      ...this.#options.describe?.(splitSubject(subject).id),
    };
  }

  /** Runs `work` after all earlier work on the same id: two effects on one entity never overlap. */
  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id) ?? Promise.resolve();
    const run = before.then(work);
    const turn = run.then(
      () => undefined,
      () => undefined,
    );
    this.#turns.set(id, turn);
    try {
      return await run;
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id);
    }
  }

  /** Tells the server that slow work is still under way. */
  #extend(sinceMs: number): void {
    const old = performance.now() - sinceMs;
    for (const [msg, since] of this.#underWay) if (since < old) msg.working();
  }
}

/** The same for each delivery of a message. */
function idOf(msg: JsMsg): string {
  return `${msg.info.stream}/${msg.info.consumer}/${msg.seq}`;
}
