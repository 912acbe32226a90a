import { create } from "@bufbuild/protobuf";
import {
  type Timestamp,
  timestampDate,
  timestampFromDate,
  timestampFromMs,
  timestampMs,
} from "@bufbuild/protobuf/wkt";
import {
  CheckoutStateSchema,
  DeferredEventSchema,
  TransitionSchema,
} from "../../gen/shop/checkout/v1/checkout_state_pb.ts";
import type { Outgoing } from "../../nats/contracts/mod.ts";
import {
  type Checkout,
  commandMessage,
  endMessage,
  type Order,
  stateMessage,
  timerMessage,
} from "./messages.ts";
import {
  type Command,
  table as checkoutTable,
  type Event,
  type Rule,
  type State,
  type Table,
} from "./table.ts";

/** How long a checkout may stay in a state, in milliseconds. */
export interface Deadlines {
  readonly reserving: number;
  readonly screening: number;
  /** Counted from the moment at which the fraud service expires the review by itself. */
  readonly in_review: number;
  readonly charging: number;
  readonly fulfilling: number;
  readonly refunding: number;
  readonly releasing: number;
}

/** One thing that happened to an order. */
export interface Happening {
  readonly event: Event;
  readonly now: Date;
  /** Of the order's own events, which alone can begin a checkout. */
  readonly order?: Order | undefined;
  /** Of `fraud.order_flagged`: when the review expires. */
  readonly expiresAt?: Date | undefined;
}

/** A change of the checkout and what is sent with it. */
interface Step {
  readonly checkout: Checkout;
  readonly send: readonly Command[];
}

/**
 * What `happening` means for the checkout, by the table: the messages to store, none if it is ignored.
 *
 * I5: each transition is one state message, and with it in the same batch go its commands, its timer or its end. What
 * leaves the state as it is but has to be remembered (a deferred event, a compensation) is a state message, too.
 * A transition may let deferred events take effect, which makes further transitions of the same decision.
 *
 * A timer that is set and fires before the new deadline is left alone: whoever handles it sets the next one.
 *
 * @param before The checkout so far, undefined if none has begun.
 * @param table Default: the checkout's. Another one is for who wants to see what it would do.
 */
export function decide(
  before: Checkout | undefined,
  happening: Happening,
  deadlines: Deadlines,
  table: Table = checkoutTable,
): Outgoing[] {
  const begun = before ?? begin(happening);
  if (begun === undefined) return [];
  const steps: Step[] = [];
  for (let checkout = begun, next: Happening | undefined = happening; next !== undefined; ) {
    const step = take(checkout, { happening: next, deadlines, table });
    if (step === undefined) break;
    steps.push(step);
    checkout = step.checkout;
    next = deferredFor(checkout, happening.now, table);
  }
  const end = steps.at(-1);
  if (end === undefined) return [];

  const ended = isEnd(end.checkout.state) && !isEnd(begun.state);
  const timerAt = newTimerAt(begun, end.checkout, { now: happening.now, deadlines });
  const last = timerAt === undefined ? end.checkout : { ...end.checkout, timerAt };
  steps[steps.length - 1] = { checkout: last, send: end.send };

  const messages: Outgoing[] = [];
  for (const { checkout } of steps) {
    messages.push(stateMessage(checkout, { end: ended && checkout === last }));
  }
  for (const { checkout, send } of steps) {
    for (const command of send) messages.push(commandMessage(command, checkout));
  }
  if (timerAt !== undefined) messages.push(timerMessage(last, timerAt));
  if (ended) messages.push(endMessage(last));
  return messages;
}

/**
 * When a timer has to be set for to have the deadline noticed; undefined if the one that is set does, since it fires at
 * the deadline or before. The first timer of a checkout is for the shortest of all deadlines, so that one that is done
 * by then has needed no other.
 */
function newTimerAt(
  before: Checkout,
  { deadline }: Checkout,
  { now, deadlines }: { now: Date; deadlines: Deadlines },
): Timestamp | undefined {
  if (deadline === undefined || deadline === before.deadline) return undefined;
  const at = timestampMs(deadline);
  const set = timerOf(before);
  if (set === undefined) {
    const shortest = now.getTime() + Math.min(...Object.values(deadlines));
    return shortest < at ? timestampFromMs(shortest) : deadline;
  }
  // One that has fired, or should have, is none.
  const setMs = timestampMs(set);
  return setMs <= now.getTime() || at < setMs ? deadline : undefined;
}

/** When the timer fires that was set last; undefined if there is none. */
export function timerOf({
  timerAt,
  deadline,
}: Pick<Checkout, "timerAt" | "deadline">): Timestamp | undefined {
  // Checkouts of an older version do not say: they have set one for each deadline.
  return timerAt ?? deadline;
}

/** Sets the timer anew, for the deadline. This is no transition, and yet it has to be remembered with the state. */
export function rearm(checkout: Checkout): Outgoing[] {
  const { deadline } = checkout;
  if (deadline === undefined) return [];
  const armed = { ...checkout, timerAt: deadline };
  return [stateMessage(armed, { end: false }), timerMessage(armed, deadline)];
}

export function isEnd(state: string): boolean {
  return state === "completed" || state === "cancelled";
}

/** Looks up the rule and follows it; undefined if nothing changes. */
function take(checkout: Checkout, circumstances: Circumstances): Step | undefined {
  const { happening, table } = circumstances;
  const { event } = happening;
  const rule = table[checkout.state as State][event];
  switch (rule.kind) {
    case "go":
      return { checkout: enter(checkout, rule, circumstances), send: rule.send };
    case "repeat":
      return {
        checkout: {
          ...checkout,
          deadline: laterDeadline(checkout, circumstances),
          timerAt: timerOf(checkout),
        },
        send: rule.send,
      };
    case "defer":
      if (wasSeen(checkout, event)) return undefined;
      return { checkout: { ...checkout, deferred: [...checkout.deferred, deferral(happening)] }, send: [] };
    case "compensate":
      if (wasSeen(checkout, event)) return undefined;
      return { checkout: { ...checkout, compensated: [...checkout.compensated, event] }, send: rule.send };
    case "ignore":
      return undefined;
    default:
      return rule satisfies never;
  }
}

interface Circumstances {
  readonly happening: Happening;
  readonly deadlines: Deadlines;
  readonly table: Table;
}

function enter(checkout: Checkout, rule: Rule & { kind: "go" }, circumstances: Circumstances): Checkout {
  const { event, now } = circumstances.happening;
  const deadline = deadlineOf(rule.to, circumstances);
  return {
    ...checkout,
    state: rule.to,
    deadline,
    // Whatever the deadline is, the timer that is set stays what it is.
    timerAt: deadline && timerOf(checkout),
    reason: rule.reason ?? checkout.reason,
    history: [
      ...checkout.history,
      create(TransitionSchema, { state: rule.to, at: timestampFromDate(now), cause: event }),
    ],
    deferred: checkout.deferred.filter((deferred) => deferred.event !== event),
  };
}

/** The first deferred event that the state now reached has a transition for. */
function deferredFor(checkout: Checkout, now: Date, table: Table): Happening | undefined {
  const due = checkout.deferred.find(
    ({ event }) => table[checkout.state as State][event as Event].kind === "go",
  );
  return due && { event: due.event as Event, now, expiresAt: due.expiresAt && timestampDate(due.expiresAt) };
}

function begin({ order }: Happening): Checkout | undefined {
  if (order?.placedAt === undefined) return undefined;
  const created = create(TransitionSchema, { state: "created", at: order.placedAt, cause: "order.created" });
  return Object.assign(create(CheckoutStateSchema, { state: "created", history: [created] }), { order });
}

function deferral({ event, expiresAt }: Happening) {
  return create(DeferredEventSchema, {
    event,
    ...(expiresAt && { expiresAt: timestampFromDate(expiresAt) }),
  });
}

function deadlineOf(state: string, { happening, deadlines }: Circumstances): Timestamp | undefined {
  if (!(state in deadlines)) return undefined;
  const from = state === "in_review" ? (happening.expiresAt ?? happening.now) : happening.now;
  return timestampFromMs(from.getTime() + deadlines[state as keyof Deadlines]);
}

/** As long again as the checkout has been in its state, so that a participant that stays away is asked ever more rarely. */
function laterDeadline(
  { state, history }: Checkout,
  { happening: { now }, deadlines }: Circumstances,
): Timestamp {
  const entered = history.at(-1)?.at;
  const waited = entered === undefined ? 0 : now.getTime() - timestampMs(entered);
  return timestampFromMs(now.getTime() + Math.max(deadlines[state as keyof Deadlines], waited));
}

/** Whether the checkout has dealt with this event before: a redelivery is no news. */
function wasSeen({ history, compensated, deferred }: Checkout, event: Event): boolean {
  return (
    history.some(({ cause }) => cause === event) ||
    compensated.includes(event) ||
    deferred.some((known) => known.event === event)
  );
}
