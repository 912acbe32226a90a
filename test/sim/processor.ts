import { splitSubject } from "../../nats/contracts/mod.ts";
import { type AnyHandler, type Delivery, newTrace, type Outcome, type View } from "../../nats/mod.ts";
import type { SimLedger } from "./ledger.ts";
import type { Value } from "./network.ts";
import { dateOf, type Process, type Surroundings } from "./process.ts";
import type { Delivered } from "./store.ts";
import { Signal, type Task, wait } from "./time.ts";

export interface ProcessorOptions {
  readonly process: Process;
  readonly ledger: SimLedger;
  readonly handlers: readonly AnyHandler[];
  readonly around: Surroundings;
  /** Carries out an effect outside the ledger. */
  perform(effect: never): Task<unknown>;
  /** A message that its handler gave up. */
  onDead(message: Delivered<Value>, reason: string): void;
}

const trace = newTrace();
const WAIT_MS = 500;

/** What `Processor` of `nats/` does, in virtual time: decide, commit, perform, conclude, and acknowledge at last. */
export class SimProcessor {
  readonly #options: ProcessorOptions;
  readonly #handlers: ReadonlyMap<string, AnyHandler>;
  readonly #turns = new Map<string, Signal<void>>();

  constructor(options: ProcessorOptions) {
    this.#options = options;
    this.#handlers = new Map(options.handlers.map((handler) => [handler.contract.subject, handler]));
  }

  receive(stream: string, message: Delivered<Value>): void {
    const { process, around } = this.#options;
    around.time.start(process, this.#handle(stream, message));
  }

  *#handle(stream: string, message: Delivered<Value>): Task<void> {
    const { process, around } = this.#options;
    const { network, bug } = around;
    const { prefix, id } = splitSubject(message.subject);
    const handler = this.#handlers.get(prefix);
    if (handler === undefined) throw new TypeError(`Cannot handle ${prefix}: ${process.service} does not`);
    const { seq } = message;
    const ack = () => network.tell(() => network.store.ack(stream, process.service, seq));
    if (bug === "ack_before_commit") ack();
    const turn = handler.conclude === undefined ? undefined : yield* this.#turn(id);
    const outcome = yield* this.#run(message, handler, id);
    turn?.fire();
    around.say(process.name, () => `${message.subject} #${seq} (${message.deliveries}.): ${outcome.kind}`);
    // What waits comes again, as what is given back does.
    if (outcome.kind === "retry" || outcome.kind === "wait") {
      const delayMs = outcome.kind === "wait" ? around.random.delay(WAIT_MS) : Math.round(outcome.delayMs);
      network.tell(() => network.store.nak(stream, process.service, { seq, delayMs }));
      return;
    }
    if (outcome.kind === "dead") this.#options.onDead(message, outcome.reason);
    ack();
  }

  *#run(message: Delivered<Value>, handler: AnyHandler, id: string): Task<Outcome<unknown>> {
    const { ledger, around, perform } = this.#options;
    const { data, seq, at, deliveries: attempt } = message;
    const delivery = (): Delivery => ({
      id,
      now: dateOf(around.time.now),
      storedAt: dateOf(at),
      seq,
      attempt,
      replayed: false,
      trace,
    });
    const keys = handler.keys(data as never, id);
    const commit = (decide: (view: View) => Outcome<unknown>) =>
      ledger.execute({
        keys,
        decide: (view) => {
          const outcome = decide(view);
          return { messages: "messages" in outcome ? outcome.messages : [], result: outcome };
        },
      });
    let outcome = yield* commit((view) => handler.decide(view, data as never, delivery()));
    while (outcome.kind === "perform") {
      const result = yield* perform(outcome.effect as never);
      const conclude = (view: View) =>
        handler.conclude?.(view, data as never, result as never, delivery()) as Outcome<unknown>;
      outcome = yield* commit(conclude);
    }
    return outcome;
  }

  /** Waits until no other effect of this id is under way here. */
  *#turn(id: string): Task<Signal<void>> {
    for (let before = this.#turns.get(id); before !== undefined; before = this.#turns.get(id)) {
      yield* wait(before);
      if (this.#turns.get(id) === before) this.#turns.delete(id);
    }
    const turn = new Signal<void>();
    this.#turns.set(id, turn);
    return turn;
  }
}
