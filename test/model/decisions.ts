import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import * as contracts from "../../nats/contracts/mod.ts";
import {
  type Contract,
  checkoutState,
  deadlinePassed,
  type Outgoing,
  orderCancelRequested,
  reviewDue,
  splitSubject,
  subjectOf,
} from "../../nats/contracts/mod.ts";
import { type AnyHandler, newTrace, type Outcome, type View } from "../../nats/mod.ts";
import { decideReview } from "../../services/fraud/decide.ts";
import type { Answer, Effect } from "../../services/payment/decide.ts";
import { Interner, textOf } from "./intern.ts";
import { cells, DEADLINE, NOW, orderId, type World } from "./world.ts";

type Value = MessageShape<DescMessage>;

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
  readonly outcome: "done" | "perform" | "retry" | "dead";
  readonly effect?: Effect;
  /** The checkout stays in its state and has another deadline. */
  readonly again: boolean;
}

const LATE = new Date(DEADLINE.getTime() + 1);

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
  readonly #made = new Map<string, Change>();
  readonly #named: (readonly number[])[] = [];
  readonly #oldTimers = new Map<string, number>();
  readonly #subjects: readonly string[];

  constructor(world: World) {
    this.world = world;
    this.values = new Interner((value) => `${value.$typeName} ${bytesOf(value)}`);
    this.sent = new Interner(({ subject, value }) => `${subject} ${bytesOf(value)}`);
    this.flights = new Interner<Flight>(textOf);
    this.cancel = this.sent.id({ ...world.cancel, kind: orderCancelRequested.subject });
    this.#subjects = cells.map((cell) => world.keys[cell].subject);
  }

  /** What the message's consumer decides about it. */
  receive(message: number, state: readonly number[]): Change {
    const sent = this.sent.get(message);
    return this.#make(`m${message}`, message, state, (handler, view) =>
      handler.decide(view, sent.value, deliveryOf(sent)),
    );
  }

  /** What the service that has begun an effect because of a message makes of the answer. */
  conclude(message: number, answer: Answer, state: readonly number[]): Change {
    const sent = this.sent.get(message);
    return this.#make(`f${message} ${answer.kind}`, message, state, (handler, view) => {
      if (handler.conclude === undefined) throw new TypeError(`Cannot conclude ${sent.kind}`);
      return handler.conclude(view, sent.value, answer, deliveryOf(sent));
    });
  }

  /** What a person's decision on the review does. */
  review(decision: "approve" | "reject", state: readonly number[]): Change {
    const index = cells.indexOf("screening");
    const name = `${decision} ${state[index]}`;
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const view = this.#view(state, [index]);
    const { messages } = decideReview(view, orderId, { decision, reviewer: "eve", note: "", now: NOW });
    return this.#remember(name, { kind: "done", messages }, state);
  }

  /** A fired timer of the checkout, as a message. */
  oldTimer(version: number, deadline: Date): number {
    const name = `${version} ${deadline.getTime()}`;
    const known = this.#oldTimers.get(name);
    if (known !== undefined) return known;
    const init = { orderId, state: "any", version, deadline: timestampFromDate(deadline) };
    const value = create(deadlinePassed.schema, init);
    const subject = subjectOf(deadlinePassed, orderId);
    const id = this.sent.id({ subject, kind: deadlinePassed.subject, value });
    this.#oldTimers.set(name, id);
    return id;
  }

  #make(
    what: string,
    message: number,
    state: readonly number[],
    decide: (handler: AnyHandler, view: View) => Outcome<Effect>,
  ): Change {
    const named = this.#cellsOf(message);
    let name = what;
    for (const cell of named) name += ` ${state[cell]}`;
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    return this.#remember(name, decide(this.#handlerOf(message), this.#view(state, named)), state);
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
    const named = keys.map((key) => cells.findIndex((cell) => this.world.keys[cell].subject === key.subject));
    this.#named[message] = named;
    return named;
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

  #remember(name: string, outcome: Outcome<Effect>, state: readonly number[]): Change {
    const messages = "messages" in outcome ? outcome.messages : [];
    const writes: [number, number][] = [];
    const timers: [number, number][] = [];
    const says: number[] = [];
    let again = false;
    for (const message of messages) {
      const cell = cells.findIndex((name) => this.world.keys[name].subject === message.subject);
      if (message.cancels !== undefined) timers.push([this.world.timers.indexOf(message.cancels), 0]);
      if (cell >= 0) {
        again ||= this.#isAskedAgain(message, state);
        writes.push([cell, this.values.id(canonical(message.value))]);
      } else if (message.schedule !== undefined) {
        timers.push([this.world.timers.indexOf(message.subject), this.#fired(message)]);
      } else {
        const kind = splitSubject(message.subject).prefix;
        says.push(this.sent.id({ subject: message.subject, kind, value: message.value }));
      }
    }
    const effect = outcome.kind === "perform" ? { effect: outcome.effect } : {};
    const change: Change = { writes, timers, says, outcome: outcome.kind, again, ...effect };
    this.#made.set(name, change);
    return change;
  }

  #fired({ schedule, value }: Outgoing): number {
    const subject = schedule?.target ?? "";
    return this.sent.id({ subject, kind: splitSubject(subject).prefix, value: canonical(value) });
  }

  #isAskedAgain({ contract, value }: Outgoing, state: readonly number[]): boolean {
    if (contract !== checkoutState) return false;
    const before = state[cells.indexOf("checkout")];
    if (!before) return false;
    const was = this.values.get(before) as MessageShape<typeof checkoutState.schema>;
    const is = value as MessageShape<typeof checkoutState.schema>;
    return was.history.length === is.history.length && was.deadline !== is.deadline;
  }
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

/** Deadlines fire when they are due; everything else happens in no time. */
function deliveryOf({ subject, kind }: Sent) {
  const timed = kind === deadlinePassed.subject || kind === reviewDue.subject;
  const now = timed ? LATE : NOW;
  return { id: splitSubject(subject).id, now, storedAt: NOW, seq: 1, attempt: 1, trace };
}

const trace = newTrace();

/**
 * The same value at canonical times. A deadline is the current one or an old one, and nothing else matters of it; that a
 * state was entered earlier or later makes no difference to what follows.
 */
function canonical(value: Value): Value {
  if (value.$typeName === checkoutState.schema.typeName) {
    const { deadline, history, ...rest } = value as MessageShape<typeof checkoutState.schema>;
    const at = timestampFromDate(NOW);
    return {
      ...rest,
      history: history.map((transition) => ({ ...transition, at })),
      ...(deadline && { deadline: timestampFromDate(DEADLINE) }),
    } as Value;
  }
  if (value.$typeName === deadlinePassed.schema.typeName) {
    const timer = value as MessageShape<typeof deadlinePassed.schema>;
    return create(deadlinePassed.schema, { ...timer, deadline: timestampFromDate(DEADLINE) });
  }
  return value;
}
