import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import * as contracts from "../../nats/contracts/mod.ts";
import {
  type Contract,
  checkoutState,
  checkoutTimer,
  deadlinePassed,
  type Key,
  type Outgoing,
  orderCancelRequested,
  reviewDue,
  splitSubject,
  subjectOf,
} from "../../nats/contracts/mod.ts";
import { type AnyHandler, newTrace, type Outcome, type View } from "../../nats/mod.ts";
import { decideReview, screeningKeys } from "../../services/fraud/decide.ts";
import type { Answer, Effect } from "../../services/payment/decide.ts";
import { Interner, textOf } from "./intern.ts";
import { cells, DEADLINE, EARLY, FIRED, LATE, NOW, orderId, TIMER, type World } from "./world.ts";

type Value = MessageShape<DescMessage>;
type Checkout = MessageShape<typeof checkoutState.schema>;

const CHECKOUT = cells.indexOf("checkout");

/** A message that was stored for somebody to take. */
export interface Sent {
  readonly subject: string;
  /** The subject without the id. */
  readonly kind: string;
  readonly value: Value;
}

/** An effect that a service has begun, because of a message, and has not heard of since. */
export interface Flight {
  readonly message: number;
  readonly effect: Effect;
}

/** What a decision changes, in numbers. */
export interface Change {
  /** By index of the cell. */
  readonly writes: readonly (readonly [cell: number, value: number])[];
  /** By index of the timer: the message that it will fire, 0 for none. */
  readonly timers: readonly (readonly [timer: number, message: number])[];
  readonly says: readonly number[];
  readonly outcome: "done" | "perform" | "retry" | "wait" | "dead";
  readonly effect?: Effect;
  /** What is wrong with the times that it stores, which are no part of a state. */
  readonly wrong?: string;
}

/**
 * The services' own decisions, made once for each state of the entities that they name: they are pure, so that making
 * them again would say the same.
 */
export class Decisions {
  readonly values: Interner<Value>;
  readonly sent: Interner<Sent>;
  readonly flights: Interner<Flight>;
  readonly world: World;
  /** The customer's request to cancel. */
  readonly cancel: number;
  /** What is stored of each cell before anything has happened. */
  readonly initial: readonly number[];
  readonly #made = new Map<string, Change>();
  readonly #choices = new Map<string, readonly Change[]>();
  readonly #named: (readonly number[])[] = [];
  readonly #firedTimers = new Map<string, number>();
  readonly #subjects: readonly string[];

  constructor(world: World) {
    this.world = world;
    this.values = new Interner((value) => `${value.$typeName} ${bytesOf(value)}`);
    this.sent = new Interner(({ subject, value }) => `${subject} ${bytesOf(value)}`);
    this.flights = new Interner<Flight>(textOf);
    this.cancel = this.sent.id({ ...world.cancel, kind: orderCancelRequested.subject });
    this.#subjects = cells.map((cell) => world.keys[cell].subject);
    this.initial = cells.map((cell) => (cell === "item" ? this.values.id(world.first.item) : 0));
  }

  /** What the message's consumer may decide about it: that depends on when it comes, and on what has been read by then. */
  receive(message: number, state: readonly number[]): readonly Change[] {
    const sent = this.sent.get(message);
    const name = this.#nameOf(`m${message}`, message, state);
    const known = this.#choices.get(name);
    if (known !== undefined) return known;
    const decideOn = (read: readonly number[]) =>
      this.#clocksOf(message).map((now) =>
        this.#make(`${now.getTime()} m${message}`, message, read, (handler, view) =>
          handler.decide(view, sent.value, deliveryOf(sent, now)),
        ),
      );
    const late = this.#lateReadings(message, state).flatMap(({ read, old }) =>
      decideOn(read).filter(({ writes }) => writes.length > 0 && !writes.some(([cell]) => old.has(cell))),
    );
    const made = [...decideOn(state), ...late];
    const choices = [...new Map(made.map((change) => [textOf(change), change])).values()];
    this.#choices.set(name, choices);
    return choices;
  }

  /** What the service that has begun an effect because of a message makes of the answer. */
  conclude(message: number, answer: Answer, state: readonly number[]): Change {
    const sent = this.sent.get(message);
    return this.#make(`f${message} ${answer.kind}`, message, state, (handler, view) => {
      if (handler.conclude === undefined) throw new TypeError(`Cannot conclude ${sent.kind}`);
      return handler.conclude(view, sent.value, answer, deliveryOf(sent, NOW));
    });
  }

  /** What a person's decision on the review does. */
  review(decision: "approve" | "reject", state: readonly number[]): Change {
    const named = this.#indexesOf(screeningKeys(orderId));
    const name = `${decision} ${named.map((cell) => state[cell]).join(" ")}`;
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const view = this.#view(state, named);
    const { messages } = decideReview(view, orderId, { decision, reviewer: "eve", note: "", now: NOW });
    return this.#remember(name, { kind: "done", messages });
  }

  /** A fired timer of the checkout, as a message. */
  firedTimer(version: number, at: Date): number {
    const name = `${version} ${at.getTime()}`;
    const known = this.#firedTimers.get(name);
    if (known !== undefined) return known;
    const init = { orderId, state: "any", version, deadline: timestampFromDate(at) };
    const value = create(deadlinePassed.schema, init);
    const subject = subjectOf(deadlinePassed, orderId);
    const id = this.sent.id({ subject, kind: deadlinePassed.subject, value });
    this.#firedTimers.set(name, id);
    return id;
  }

  #make(
    what: string,
    message: number,
    state: readonly number[],
    decide: (handler: AnyHandler, view: View) => Outcome<Effect>,
  ): Change {
    const name = this.#nameOf(what, message, state);
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const view = this.#view(state, this.#cellsOf(message));
    return this.#remember(name, decide(this.#handlerOf(message), view));
  }

  #nameOf(what: string, message: number, state: readonly number[]): string {
    let name = what;
    for (const cell of this.#cellsOf(message)) name += ` ${state[cell]}`;
    return name;
  }

  /**
   * The state as an instance has read it that was overtaken by another one: some of the entities as they were in the
   * beginning. What it decides on that is stored if it writes none of those: only what is written is guarded. (A decision
   * that writes nothing is confirmed by a read first.)
   */
  #lateReadings(
    message: number,
    state: readonly number[],
  ): { read: readonly number[]; old: ReadonlySet<number> }[] {
    const moved = this.#cellsOf(message).filter((cell) => state[cell] !== this.initial[cell]);
    const choices: number[][] = [[]];
    for (const cell of moved) choices.push(...choices.map((old) => [...old, cell]));
    return choices
      .filter((old) => old.length > 0)
      .map((old) => {
        const read = state.map((value, cell) => (old.includes(cell) ? (this.initial[cell] ?? 0) : value));
        return { read, old: new Set(old) };
      });
  }

  /**
   * When a message comes, as far as it makes a difference. For one about a checkout that is long before its timer fires,
   * before it, or after it, and for a timer before the deadline or after it. A review's is due when it fires.
   */
  #clocksOf(message: number): readonly Date[] {
    const { kind } = this.sent.get(message);
    if (kind === deadlinePassed.subject) return [FIRED, LATE];
    if (kind === reviewDue.subject) return [LATE];
    return this.#cellsOf(message).includes(CHECKOUT) ? [EARLY, NOW, FIRED] : [NOW];
  }

  #handlerOf(message: number): AnyHandler {
    const { kind } = this.sent.get(message);
    const handler = this.world.handlers.get(kind);
    if (handler === undefined) throw new TypeError(`Cannot deliver ${kind}: nobody takes it`);
    return handler;
  }

  /** The entities that a message's consumer names, by index. */
  #cellsOf(message: number): readonly number[] {
    const known = this.#named[message];
    if (known !== undefined) return known;
    const { subject, value } = this.sent.get(message);
    const keys = this.#handlerOf(message).keys(value as never, splitSubject(subject).id);
    const named = this.#indexesOf(keys);
    this.#named[message] = named;
    return named;
  }

  #indexesOf(keys: readonly Key[]): readonly number[] {
    return keys.map((key) => this.#subjects.indexOf(key.subject));
  }

  /** Shows exactly what the handler named, as the ledger does. */
  #view(state: readonly number[], named: readonly number[]): View {
    return {
      get: <S extends DescMessage>(contract: Contract<S>, id: string) => {
        const subject = `${contract.subject}.${id}`;
        const cell = named.find((index) => this.#subjects[index] === subject);
        if (cell === undefined)
          throw new ReferenceError(`Cannot read ${subject}: the handler does not name it`);
        const value = state[cell];
        return (value ? this.values.get(value) : undefined) as MessageShape<S> | undefined;
      },
    };
  }

  #remember(name: string, outcome: Outcome<Effect>): Change {
    const messages = "messages" in outcome ? outcome.messages : [];
    const writes: [number, number][] = [];
    const timers: [number, number][] = [];
    const says: number[] = [];
    for (const message of messages) {
      const cell = cells.findIndex((name) => this.world.keys[name].subject === message.subject);
      if (message.cancels !== undefined) timers.push([this.world.timers.indexOf(message.cancels), 0]);
      if (cell >= 0) {
        writes.push([cell, this.values.id(canonical(message.value))]);
      } else if (message.schedule !== undefined) {
        timers.push([this.world.timers.indexOf(message.subject), this.#fired(message)]);
      }
      const kind = splitSubject(message.subject).prefix;
      // An event can be the state of its service, and is said all the same.
      if (message.schedule === undefined && (cell < 0 || this.world.handlers.has(kind))) {
        says.push(this.sent.id({ subject: message.subject, kind, value: message.value }));
      }
    }
    const effect = outcome.kind === "perform" ? { effect: outcome.effect } : {};
    const wrong = wrongTimes(messages);
    const change: Change = {
      writes,
      timers,
      says,
      outcome: outcome.kind,
      ...effect,
      ...(wrong && { wrong }),
    };
    this.#made.set(name, change);
    return change;
  }

  #fired({ schedule, value }: Outgoing): number {
    const subject = schedule?.target ?? "";
    return this.sent.id({ subject, kind: splitSubject(subject).prefix, value: canonical(value) });
  }
}

/** A checkout remembers when its timer fires, and that is at its deadline or before. */
function wrongTimes(messages: readonly Outgoing[]): string | undefined {
  const state = messages.findLast(({ contract }) => contract === checkoutState)?.value as
    | Checkout
    | undefined;
  if (state?.deadline === undefined) return undefined;
  if (state.timerAt === undefined) return `the ${state.state} order does not say when its timer fires`;
  const at = timestampMs(state.timerAt);
  if (at > timestampMs(state.deadline))
    return `the timer of the ${state.state} order fires after its deadline`;
  const timer = messages.find(({ contract }) => contract === checkoutTimer)?.schedule?.at.getTime();
  return timer === undefined || timer === at
    ? undefined
    : `the ${state.state} order has another timer than it says`;
}

function bytesOf(value: Value): string {
  return Buffer.from(toBinary(schemaOf(value), value)).toString("latin1");
}

const schemas = new Map<string, DescMessage>(
  Object.values(contracts)
    .filter((exported) => typeof exported === "object")
    .map(({ schema }) => [schema.typeName, schema] as const),
);

function schemaOf(value: Value): DescMessage {
  const schema = schemas.get(value.$typeName);
  if (schema === undefined) throw new TypeError(`Cannot write ${value.$typeName}: its schema is not known`);
  return schema;
}

function deliveryOf({ subject }: Sent, now: Date) {
  return { id: splitSubject(subject).id, now, storedAt: NOW, seq: 1, attempt: 1, replayed: false, trace };
}

const trace = newTrace();

/**
 * The same value at canonical times. A timer is the current one or an old one, a deadline is the timer's or later, and
 * nothing else matters of them; that a state was entered earlier or later makes no difference to what follows.
 */
function canonical(value: Value): Value {
  if (value.$typeName === checkoutState.schema.typeName) {
    const { deadline, timerAt, history, ...rest } = value as Checkout;
    const at = timestampFromDate(NOW);
    const moved = deadline && timerAt && timestampMs(timerAt) < timestampMs(deadline);
    return {
      ...rest,
      history: history.map((transition) => ({ ...transition, at })),
      ...(deadline && { deadline: timestampFromDate(moved ? DEADLINE : TIMER) }),
      ...(timerAt && { timerAt: timestampFromDate(TIMER) }),
    } as Value;
  }
  if (value.$typeName === deadlinePassed.schema.typeName) {
    const timer = value as MessageShape<typeof deadlinePassed.schema>;
    return create(deadlinePassed.schema, { ...timer, deadline: timestampFromDate(TIMER) });
  }
  return value;
}
