import { deadlinePassed } from "../../nats/contracts/mod.ts";
import type { Answer } from "../../services/payment/decide.ts";
import type { Change, Decisions, Flight } from "./decisions.ts";
import type { Interner } from "./intern.ts";
import { isPending, type State, withFlight, withMessage, without } from "./state.ts";
import { CHECKOUT_TIMER } from "./world.ts";

/** What the payment provider has done, by idempotency key. */
export interface Provider {
  readonly captures: Readonly<Record<string, { outcome: "captured" | "declined"; cents: bigint }>>;
  readonly refunds: Readonly<Record<string, { captureId: string; cents: bigint }>>;
}

/** One step of anybody. */
export interface Move {
  readonly label: string;
  readonly to: State;
  /**
   * Whether it happens by itself sooner or later: messages are delivered, timers fire, the provider answers. What is not
   * fair may happen at any moment or never: redeliveries, crashes, lost answers, customers and reviewers.
   */
  readonly fair: boolean;
  /** What was stored by it. */
  readonly says: readonly number[];
  /** The message that was delivered by it. */
  readonly delivers?: number;
  /** Its consumer gave it up. */
  readonly dead?: boolean;
  /** What is wrong with what was decided, whatever the state is. */
  readonly wrong?: string;
}

export interface Moves {
  readonly decisions: Decisions;
  readonly providers: Interner<Provider>;
}

export function newProvider(): Provider {
  return { captures: {}, refunds: {} };
}

/** All that can happen next. A step that changes nothing is none. */
export function* movesOf(state: State, moves: Moves): Generator<Move> {
  const { decisions } = moves;
  for (const entry of state.messages) {
    const id = entry >> 1;
    const { kind, value } = decisions.sent.get(id);
    if (decisions.world.handlers.has(kind)) {
      const label = `${isPending(entry) ? "deliver" : "redeliver"} ${kind}${detailOf(value)}`;
      yield* delivery(state, decisions, { id, label, first: isPending(entry) });
    }
  }
  for (const flight of state.flights) yield* flightMoves(state, flight, moves);
  for (const [index, message] of state.timers.entries()) {
    if (message === 0) continue;
    yield {
      label: `timer fires ${decisions.sent.get(message).kind}`,
      to: {
        ...state,
        timers: state.timers.with(index, 0),
        messages: withMessage(state.messages, message, true),
      },
      fair: true,
      says: [],
    };
  }
  const { cancel } = decisions;
  if (!state.messages.some((entry) => entry >> 1 === cancel)) {
    const messages = withMessage(state.messages, cancel, true);
    yield { label: "customer asks to cancel", to: { ...state, messages }, fair: false, says: [] };
  }
  for (const decision of ["approve", "reject"] as const) {
    const change = decisions.review(decision, state.cells);
    if (change.says.length === 0) continue;
    const label = `reviewer: ${decision}`;
    yield { label, to: stored(state, change, decisions), fair: false, says: change.says };
  }
}

function* delivery(
  state: State,
  decisions: Decisions,
  { id, label, first }: { id: number; label: string; first: boolean },
): Generator<Move> {
  for (const change of decisions.receive(id, state.cells)) {
    yield* received(state, decisions, { id, label, first, change });
  }
}

function* received(
  state: State,
  decisions: Decisions,
  { id, label, first, change }: { id: number; label: string; first: boolean; change: Change },
): Generator<Move> {
  if (isLater(change)) return;
  const nothing = change.writes.length + change.timers.length + change.says.length === 0;
  if (!first && nothing && change.outcome === "done") return;
  const next = stored(state, change, decisions);
  const wrong = change.wrong === undefined ? {} : { wrong: change.wrong };
  const move = { label, fair: first, says: change.says, delivers: id, ...wrong };
  if (change.outcome === "dead") yield { ...move, to: next, dead: true };
  else if (change.outcome === "done") yield { ...move, to: { ...next, messages: acked(next, id) } };
  else yield { ...move, label: `${label}, effect begins`, to: begun(next, decisions, { id, change }) };
}

/**
 * What can become of an effect. That the provider has carried it out and that the service hears of it are two steps, and
 * anything may happen between them. When an answer got lost, and when it was on its way, makes no difference to anybody
 * until the service goes on, which is why these are no steps of their own.
 */
function* flightMoves(state: State, id: number, { decisions, providers }: Moves): Generator<Move> {
  const flight = decisions.flights.get(id);
  const { message, effect } = flight;
  const provider = providers.get(state.provider);
  const answer = answerOf(flight, provider);
  const rest = { ...state, flights: without(state.flights, id) };
  const name = effect.kind;
  const { kind } = decisions.sent.get(message);
  if (answer === undefined) {
    for (const { outcome, after } of outcomesOf(flight, provider)) {
      const to = { ...state, provider: providers.id(after) };
      yield { label: `provider: ${name} is ${outcome}`, to, fair: true, says: [] };
    }
  }
  const conclude = (said: Answer, from: State) => {
    const change = decisions.conclude(message, said, state.cells);
    return { says: change.says, to: concluded(from, change, { decisions, message }) };
  };
  if (answer !== undefined) {
    const label = `${kind} concludes: ${answer.kind}`;
    yield { label, fair: true, ...conclude(answer, rest) };
    // The same effect is under way in another process, to which the message was delivered as well.
    yield { label: `${label}, and elsewhere not yet`, fair: false, ...conclude(answer, state) };
  }
  const lost: Answer = { kind: "unavailable", reason: "" };
  yield { label: `${kind} concludes: the answer is lost`, fair: false, ...conclude(lost, rest) };
  yield { label: `the ${name} is forgotten in a crash`, to: rest, fair: false, says: [] };
}

function concluded(
  from: State,
  change: Change,
  { decisions, message }: { decisions: Decisions; message: number },
): State {
  if (isLater(change)) return from;
  const next = stored(from, change, decisions);
  if (change.outcome === "perform") return begun(next, decisions, { id: message, change });
  return { ...next, messages: acked(next, message) };
}

/** What the provider says to a request that it has carried out, undefined before. */
function answerOf({ effect }: Flight, { captures, refunds }: Provider): Answer | undefined {
  const key = effect.idempotencyKey;
  if (effect.kind === "refund") return refunds[key] && { kind: "refunded", refundId: "re" };
  const known = captures[key];
  if (known === undefined) return undefined;
  return known.outcome === "captured"
    ? { kind: "captured", captureId: key }
    : { kind: "declined", code: "no" };
}

/** What the provider may do about a request that it sees for the first time. */
function outcomesOf({ effect }: Flight, before: Provider): { outcome: string; after: Provider }[] {
  const { idempotencyKey: key, amountCents: cents } = effect;
  if (effect.kind === "refund") {
    const refund = { captureId: effect.captureId, cents };
    return [{ outcome: "refunded", after: { ...before, refunds: { ...before.refunds, [key]: refund } } }];
  }
  return (["captured", "declined"] as const).map((outcome) => ({
    outcome,
    after: { ...before, captures: { ...before.captures, [key]: { outcome, cents } } },
  }));
}

/** After the batch of a decision. */
function stored(state: State, change: Change, decisions: Decisions): State {
  let { cells: values, timers, messages } = state;
  for (const [cell, value] of change.writes) values = values.with(cell, value);
  for (const [timer, message] of change.timers) timers = timers.with(timer, message);
  for (const id of change.says) {
    messages = withMessage(messages, id, decisions.world.handlers.has(decisions.sent.get(id).kind));
  }
  // A timer that has fired is an old one from now on.
  if (change.timers.some(([timer]) => timer === CHECKOUT_TIMER)) messages = withoutFired(messages, decisions);
  return { ...state, cells: values, timers, messages };
}

/**
 * Without the checkout's timers that fired before another one was set, or none is needed any more: the explorer delivers
 * all of those in each state, whether they were fired or not, and sees that they change nothing.
 */
function withoutFired(messages: readonly number[], { sent }: Decisions): readonly number[] {
  return messages.filter((entry) => sent.get(entry >> 1).kind !== deadlinePassed.subject);
}

function begun(state: State, decisions: Decisions, { id, change }: { id: number; change: Change }): State {
  if (change.effect === undefined) throw new TypeError("Cannot begin an effect: there is none");
  const flight = decisions.flights.id({ message: id, effect: change.effect });
  return { ...state, flights: withFlight(state.flights, flight) };
}

/** A message that is gone because it is stale is not brought back by its acknowledgement. */
function acked({ messages }: State, id: number): readonly number[] {
  return messages.some((entry) => entry >> 1 === id) ? withMessage(messages, id, false) : messages;
}

function detailOf(value: object): string {
  if ("reason" in value) return ` (${value.reason})`;
  if ("version" in value && "state" in value) return ` (${value.state}, version ${value.version})`;
  return "";
}

/** Whether nothing comes of a delivery but another one. */
function isLater({ outcome }: Change): boolean {
  return outcome === "retry" || outcome === "wait";
}
