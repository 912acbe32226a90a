import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { JsMsg } from "@nats-io/jetstream";
import { Budget } from "./budget.ts";
import { type ConsumerName, nameOf } from "./consumer_name.ts";
import { splitSubject } from "./contracts/contract.ts";
import { counted } from "./counted.ts";
import { Effects } from "./effects.ts";
import type { AnyHandler, Delivery, Outcome } from "./handler.ts";
import type { Incoming } from "./incoming.ts";
import type { Ledger } from "./ledger.ts";
import { isUnavailable } from "./link.ts";
import { backoffMs } from "./pause.ts";
import { postpone } from "./postpone.ts";
import { FORGED, type MessageRead, type Readable, readMessage } from "./read_message.ts";
import type { Place } from "./replays.ts";
import { fieldsOf, finish, parkAway, type Settling } from "./settle.ts";
import { failWith } from "./spans.ts";
import { LedgerBusyError, LedgerTimeoutError, type View } from "./task.ts";
import type { Tracer } from "./tracer.ts";
import { Turns } from "./turns.ts";
import { type Patience, type Postponed, Waiting, type WaitingContracts } from "./waiting.ts";

export interface AttemptsOptions extends Settling {
  readonly ledger: Ledger;
  readonly handlers: readonly AnyHandler[];
  readonly consumers: readonly (ConsumerName & { readonly effects?: string | undefined })[];
  /** Aborts when no more work is taken: what fails from then on is given back. */
  readonly stopping: AbortSignal;
  /** Aborts when no more work is done. */
  readonly stopped: AbortSignal;
  /** Default: no handler answers with `wait`. */
  readonly waiting?: WaitingContracts | undefined;
  readonly readable?: Readable | undefined;
  readonly disturb?: ((signal: AbortSignal) => Promise<void>) | undefined;
  readonly now?: (() => Date) | undefined;
  readonly tracer?: Tracer | undefined;
}

/**
 * What became of a delivery. `done`, `wait` (stored as waiting), `dead`, `dropped` (a hint that cannot be handled) and `replayed`
 * (before, and not handled again) are acknowledged. `retry` was asked for by its handler, `error` failed, and `stopped` was given
 * back by a process that ends: those come again.
 */
export type AttemptOutcome =
  | "done"
  | "wait"
  | "dead"
  | "dropped"
  | "replayed"
  | "retry"
  | "error"
  | "stopped";

/** Of a delivery about which nothing is left to do: another one of the same waits, or was tried since. */
const overtaken: Outcome = { kind: "done", messages: [] };

/** A handler that throws this often for one message is not going to stop. */
export const MAX_THROWS = 5;
/** Messages whose throws are counted at a time. */
const MAX_COUNTED = 10_000;

/** Handles deliveries, one attempt each, and settles every one: it is acknowledged or comes again. */
export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #handlers: ReadonlyMap<string, AnyHandler>;
  /** Names of the consumers whose messages are handled once, be they replayed. */
  readonly #once: ReadonlySet<string>;
  readonly #throws = new Map<string, number>();
  readonly #turns = new Turns();
  readonly #effects: Effects;
  readonly #budgets = new Map<Patience, Budget>();

  constructor(options: AttemptsOptions) {
    this.#options = options;
    this.#effects = new Effects(options.tracer);
    this.#handlers = new Map(options.handlers.map((handler) => [handler.contract.subject, handler]));
    this.#once = new Set(options.consumers.filter(({ effects }) => effects !== undefined).map(nameOf));
  }

  /**
   * Handles one delivery. Never rejects for what a handler does.
   * @param place Undefined if nobody knows whether it is a replay: it comes again then.
   */
  async attempt(incoming: Incoming, place: Place | undefined): Promise<AttemptOutcome> {
    const { disturb } = this.#options;
    const hindered = disturb && (await this.#hindered(incoming, disturb));
    if (hindered !== undefined) return hindered;
    if (place === undefined) {
      incoming.msg.nak(backoffMs(incoming.msg.info.deliveryCount));
      return "error";
    }
    if (place.replayed && this.#isSettled(incoming, place)) {
      incoming.msg.ack();
      return "replayed";
    }
    try {
      const outcome = await this.#handle(incoming, place);
      if (outcome !== "retry" && outcome !== "error") this.#throws.delete(idOf(incoming.msg));
      return outcome;
    } catch (cause) {
      return this.#afterThrow(incoming, cause);
    }
  }

  /** What a delivery ends as that is not even handled: it comes again, and that is not its fault. */
  async #hindered(
    { msg }: Incoming,
    disturb: (signal: AbortSignal) => Promise<void>,
  ): Promise<AttemptOutcome | undefined> {
    const { log, stopping } = this.#options;
    try {
      await disturb(stopping);
    } catch (cause) {
      log.warn({ err: cause, subject: msg.subject }, "a delivery was disturbed");
      msg.nak(backoffMs(msg.info.deliveryCount));
      return "error";
    }
    if (!stopping.aborted) return undefined;
    msg.nak();
    return "stopped";
  }

  /**
   * Whether nothing is left to be done about what comes as a replay: it may have had an effect, or it was parked, and what
   * becomes of it now is said of its dead letter.
   */
  #isSettled({ msg }: Incoming, { parked }: Place): boolean {
    const { stream, consumer: name } = msg.info;
    return parked || this.#once.has(nameOf({ stream, name }));
  }

  async #handle(incoming: Incoming, place: Place): Promise<AttemptOutcome> {
    if (incoming.forged) return this.#park(incoming, FORGED);
    const { prefix, id } = splitSubject(incoming.subject);
    const handler = this.#handlers.get(prefix);
    if (handler === undefined) return this.#park(incoming, `no handler for ${prefix}`);
    let read: MessageRead;
    try {
      const reading = readMessage(incoming, handler.contract, this.#options.readable);
      read = reading instanceof Promise ? await reading : reading;
    } catch (cause) {
      // Nothing is known of the message, so nothing counts against it.
      this.#options.log.warn(
        { ...this.#fields(incoming), err: cause },
        "cannot look up a schema, trying again",
      );
      incoming.msg.nak(backoffMs(incoming.msg.info.deliveryCount));
      return "error";
    }
    if (read.kind === "unreadable") return this.#giveUp(incoming, handler, read.error);
    const decoded = { value: read.value, id, place };
    if (handler.perform === undefined) return this.#run(incoming, handler, decoded);
    return this.#turns.take(id, () => this.#run(incoming, handler, decoded));
  }

  /** Decides and commits, performs the effect if there is one and concludes, until nothing is left; then settles. */
  async #run(
    incoming: Incoming,
    handler: AnyHandler,
    { value, id, place }: { value: MessageShape<DescMessage>; id: string; place: Place },
  ): Promise<AttemptOutcome> {
    const { msg, stream, seq, storedAt, trace, letter, due } = incoming;
    // What was redriven has been tried before, by the consumer that parked it; what was delivered before a reset, too.
    const triedBefore = due?.tries ?? (letter === undefined && !place.tried ? 0 : 1);
    const attempt = msg.info.deliveryCount + triedBefore;
    const now = () => this.#options.now?.() ?? new Date();
    const waiting = this.#waitingOf(incoming, handler);
    // A message that is delivered for the first time, and that no other one asks for again, waits nowhere yet.
    const looked = attempt > 1 || handler.patience?.repeats === true ? waiting : undefined;
    const deliveryIn = (view: View): Delivery => ({
      id,
      now: now(),
      storedAt,
      seq,
      attempt,
      firstTriedAt: looked?.firstTriedAt(view),
      replayed: place.replayed,
      trace,
    });
    const keys = [...handler.keys(value, id), ...(looked === undefined ? [] : [looked.key])];
    // What was delivered before may well have been stored before.
    const begun = attempt > 1 ? [] : (handler.begins?.(value, id) ?? []);
    const begins = begun.map(({ subject }) => subject);
    const work = { trace, cause: { stream, seq, attempt } };
    const commit = (decide: (view: View) => Outcome<unknown>) => {
      return this.#options.ledger.execute({
        ...work,
        keys,
        begins,
        decide: (view) => {
          const outcome = decide(view);
          const messages = "messages" in outcome ? outcome.messages : [];
          const ended = outcome.kind === "done" && outcome !== overtaken ? looked?.ended(view) : undefined;
          return { messages: [...messages, ...(ended ?? [])], result: outcome };
        },
      });
    };
    let outcome: Outcome<unknown> | Postponed = await commit((view) =>
      looked?.isOvertaken(view, now()) ? overtaken : handler.decide(view, value, deliveryIn(view)),
    );
    while (outcome.kind === "perform") {
      if (handler.perform === undefined || handler.conclude === undefined) {
        throw new TypeError(
          `Cannot perform an effect of ${handler.contract.subject}: the handler has no perform()`,
        );
      }
      const { stopped: signal } = this.#options;
      signal.throwIfAborted();
      if (this.#effects.isFull(handler)) {
        const most = counted(handler.maxEffects ?? 0, "effect");
        outcome = { kind: "wait", reason: `${most} of ${handler.contract.subject} are under way` };
        break;
      }
      const result = await this.#effects.perform(incoming, handler, {
        effect: outcome.effect,
        signal,
        attempt,
      });
      outcome = await commit(
        (view) => handler.conclude?.(view, value, result, deliveryIn(view)) as Outcome<unknown>,
      );
    }
    if (outcome.kind === "wait") {
      const budget = handler.patience && this.#budgetOf(handler.patience);
      const options = { outcome, waiting, work, now, budget };
      outcome = await postpone(this.#options.ledger, incoming, handler, options);
    }
    switch (outcome.kind) {
      case "done":
        return finish(incoming, this.#options);
      case "waiting":
        this.#options.log.info(
          { ...this.#fields(incoming), reason: outcome.reason, until: outcome.until },
          "stored as waiting",
        );
        incoming.span?.set({ "shop.reason": outcome.reason });
        msg.ack();
        return "wait";
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

  #budgetOf(patience: Patience): Budget | undefined {
    const { perSecond } = patience;
    if (perSecond === undefined) return undefined;
    const budget = this.#budgets.get(patience) ?? new Budget(perSecond);
    this.#budgets.set(patience, budget);
    return budget;
  }

  #waitingOf({ subject, due, letter }: Incoming, { patience }: AnyHandler): Waiting | undefined {
    const { waiting: contracts } = this.#options;
    if (contracts === undefined || patience === undefined) return undefined;
    return new Waiting(contracts, { subject, due, redriven: letter !== undefined });
  }

  async #afterThrow(incoming: Incoming, cause: unknown): Promise<AttemptOutcome> {
    const { msg, span } = incoming;
    if (span !== undefined) failWith(span, cause);
    const { deliveryCount } = msg.info;
    if (this.#options.stopping.aborted) {
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
      const handler = this.#handlers.get(splitSubject(incoming.subject).prefix);
      const error = cause instanceof Error ? cause.message : String(cause);
      const outcome = await this.#giveUp(incoming, handler, error);
      if (outcome !== "error") this.#throws.delete(idOf(msg));
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

  /** A hint is let go. Everything else is parked. */
  async #giveUp(incoming: Incoming, handler: AnyHandler | undefined, error: string): Promise<AttemptOutcome> {
    if (handler?.contract.hint !== true) return this.#park(incoming, error);
    this.#options.log.warn({ ...this.#fields(incoming), error }, "let a hint go that cannot be handled");
    return (await finish(incoming, this.#options)) === "done" ? "dropped" : "error";
  }

  #park(incoming: Incoming, error: string): Promise<AttemptOutcome> {
    return parkAway(incoming, { ...this.#options, error });
  }

  #fields(incoming: Incoming): object {
    return fieldsOf(incoming, this.#options);
  }
}

/** The same for each delivery of a message. */
function idOf(msg: JsMsg): string {
  return `${msg.info.stream}/${msg.info.consumer}/${msg.seq}`;
}
