import type { MessageShape } from "@bufbuild/protobuf";
import {
  type checkoutState,
  deadlinePassed,
  type fulfillmentFailed,
  type item,
  type orderActivated,
  orderCancelRequested,
  type orderCleared,
  type orderShipped,
  type payment,
  type reservation,
  type screening,
} from "../../nats/contracts/mod.ts";
import type { Event, State as Step } from "../../services/coordinator/table.ts";
import type { Decisions } from "./decisions.ts";
import type { Move, Provider } from "./moves.ts";
import { isPending, type State } from "./state.ts";
import { type Cell, CHECKOUT_TIMER, cells, OLD_TIMER, quantity, TIMER } from "./world.ts";

/** Everything that can be said about the order, in words of the shop. */
interface Picture {
  readonly checkout?: MessageShape<typeof checkoutState.schema> | undefined;
  readonly item?: MessageShape<typeof item.schema> | undefined;
  readonly reservation?: MessageShape<typeof reservation.schema> | undefined;
  readonly payment?: MessageShape<typeof payment.schema> | undefined;
  readonly screening?: MessageShape<typeof screening.schema> | undefined;
  readonly cleared?: MessageShape<typeof orderCleared.schema> | undefined;
  readonly shipped?: MessageShape<typeof orderShipped.schema> | undefined;
  readonly activated?: MessageShape<typeof orderActivated.schema> | undefined;
  readonly failed?: MessageShape<typeof fulfillmentFailed.schema> | undefined;
}

/** Answers of which an order gets one at most, and that once. */
export const oneOf: readonly (readonly string[])[] = [
  ["inventory.stock_reserved", "inventory.stock_rejected"],
  ["inventory.stock_released"],
  ["fraud.order_cleared", "fraud.order_flagged"],
  ["fraud.review_approved", "fraud.review_rejected", "fraud.review_expired"],
  ["payment.captured", "payment.declined"],
  ["payment.captured", "payment.voided"],
  ["payment.refunded", "payment.voided"],
  ["payment.declined", "payment.refunded"],
  ["fulfillment.shipped", "fulfillment.activated", "fulfillment.failed"],
  ["checkout.completed", "checkout.cancelled"],
];
const once = new Set(oneOf.flat());

export interface Invariants {
  readonly decisions: Decisions;
  readonly providerOf: (state: State) => Provider;
}

/** What is wrong with a step, undefined if nothing is. */
export function wrongStep(from: State, move: Move, { decisions }: Invariants): string | undefined {
  if (move.wrong !== undefined) return move.wrong;
  if (move.dead) return "a message of the shop's own became a dead letter";
  for (const id of move.says) {
    const { kind } = decisions.sent.get(id);
    const before = from.messages.some((entry) => decisions.sent.get(entry >> 1).kind === kind);
    if (once.has(kind) && before) return `I4: ${kind} happened twice`;
  }
  if (move.delivers === undefined) return undefined;
  const { kind } = decisions.sent.get(move.delivers);
  const before = pictureOf(from, decisions).checkout;
  const step = before?.state ?? "created";
  if (kind === orderCancelRequested.subject && cancellable.has(step)) {
    const after = pictureOf(move.to, decisions).checkout?.state ?? "created";
    if (!undoing.has(after)) return `a cancellation is not honoured in ${step}`;
  }
  if (kind === deadlinePassed.subject && before?.deadline !== undefined) {
    if (move.to.cells === from.cells) return `I3: the deadline of ${step} makes no difference`;
  }
  return undefined;
}

/** A customer can change their mind until goods may leave. */
const cancellable = new Set(["created", "reserving", "screening", "in_review", "charging"]);
const undoing = new Set(["refunding", "releasing", "cancelled"]);

/** What is wrong with a state whatever comes next, undefined if nothing is. */
export function wrongState(state: State, invariants: Invariants): string | undefined {
  const { decisions } = invariants;
  const picture = pictureOf(state, decisions);
  const provider = invariants.providerOf(state);
  return (
    wrongEffects(state, decisions) ??
    wrongMoney(picture, provider) ??
    wrongStock(picture, decisions) ??
    wrongHistory(picture, decisions) ??
    wrongTimers(state, picture, decisions) ??
    (isCalm(state) ? wrongCalm(state, picture, provider) : undefined)
  );
}

/** Nothing is under way: only a timer, a customer or a reviewer can make a difference. */
export function isCalm({ messages, flights }: State): boolean {
  return flights.length === 0 && !messages.some(isPending);
}

/** An end for good: nothing at all is left to happen by itself. */
export function isEnd(state: State, decisions: Decisions): boolean {
  const step = pictureOf(state, decisions).checkout?.state;
  return (
    isCalm(state) && (step === "completed" || step === "cancelled") && !state.timers.some((id) => id > 0)
  );
}

export function pictureOf(state: State, { values }: Decisions): Picture {
  const known = cells.map((cell, index): [Cell, unknown] => {
    const id = state.cells[index];
    return [cell, id ? values.get(id) : undefined];
  });
  return Object.fromEntries(known) as Picture;
}

function wrongEffects({ messages }: State, { sent }: Decisions): string | undefined {
  const said = new Set(messages.map((entry) => sent.get(entry >> 1).kind));
  for (const group of oneOf) {
    const both = group.filter((kind) => said.has(kind));
    if (both.length > 1) return `I4: both ${both.join(" and ")} happened`;
  }
  return undefined;
}

function wrongMoney(
  { checkout, payment, shipped, activated }: Picture,
  provider: Provider,
): string | undefined {
  const captures = Object.values(provider.captures).filter(({ outcome }) => outcome === "captured");
  const refunds = Object.values(provider.refunds);
  if (captures.length > 1) return "I4: the provider captured twice";
  if (refunds.length > 1) return "I4: the provider refunded twice";
  if (refunds.length > captures.length) return "I1: the provider refunded what it has not captured";
  if (captures.some(({ cents }) => cents !== checkout?.order?.totalCents))
    return "I1: another amount was captured";
  if (refunds.some(({ cents }) => cents !== captures[0]?.cents)) return "I1: another amount was refunded";
  if (payment?.status === "voided" && captures.length > 0) return "I1: a payment that is void was captured";
  const kept = captures.length - refunds.length;
  if (checkout?.state === "completed" && kept !== 1) return "I1: a completed order is not paid";
  const gone = shipped !== undefined || activated !== undefined;
  if (gone && kept !== 1) return "I1: goods left the house and are not paid";
  return undefined;
}

function wrongStock(picture: Picture, { world }: Decisions): string | undefined {
  const { checkout, item, reservation, shipped, activated } = picture;
  if (item === undefined) return "I2: the item is gone";
  const { available, reserved, sold } = item;
  if (available + reserved + sold !== world.initialStock) return "I2: units came or went";
  const units = reservation?.lines.reduce((sum, line) => sum + BigInt(line.quantity), 0n) ?? 0n;
  const held = reservation?.status === "reserved" ? units : 0n;
  if (reserved !== held) return `I2: ${reserved} units are reserved and ${held} are held`;
  const bought = reservation?.status === "sold" ? units : 0n;
  if (sold !== bought) return `I2: ${sold} units are sold and ${bought} are bought`;
  const gone = shipped !== undefined || activated !== undefined;
  if (gone && units !== BigInt(quantity)) return "I2: goods left the house and are not taken";
  if (sold > 0n && checkout?.state !== "completed") return `I2: units of a ${checkout?.state} order are sold`;
  return undefined;
}

function wrongHistory({ checkout }: Picture, { world }: Decisions): string | undefined {
  const history = checkout?.history ?? [];
  for (const [index, { state, cause }] of history.entries()) {
    const before = history[index - 1];
    if (before === undefined) {
      if (state !== "created") return `I5: a history begins with ${state}`;
      continue;
    }
    const rule = world.table[before.state as Step][cause as Event];
    if (rule?.kind !== "go" || rule.to !== state) {
      return `I5: the table has no way from ${before.state} to ${state} by ${cause}`;
    }
  }
  return history.length > 0 && history.at(-1)?.state !== checkout?.state
    ? "I5: history and state differ"
    : undefined;
}

/**
 * A checkout has a timer for as long as it has a deadline, set or fired. A timer is a hint: one that another has followed
 * changes nothing, and neither does any after the end.
 */
function wrongTimers(state: State, { checkout }: Picture, decisions: Decisions): string | undefined {
  if (checkout === undefined) return undefined;
  const set = state.timers[CHECKOUT_TIMER] !== 0;
  const fired = state.messages.some(
    (entry) => isPending(entry) && decisions.sent.get(entry >> 1).kind === deadlinePassed.subject,
  );
  const live = checkout.deadline !== undefined;
  if (live && !set && !fired) return `the ${checkout.state} order has no timer`;
  if (!live && (set || fired)) return `the ${checkout.state} order has a timer`;
  for (let version = 1; version <= checkout.history.length; version++) {
    for (const at of live ? [OLD_TIMER] : [OLD_TIMER, TIMER]) {
      const choices = decisions.receive(decisions.firedTimer(version, at), state.cells);
      if (choices.some(({ writes, says }) => writes.length + says.length > 0)) {
        return `an old timer, of version ${version}, made a difference`;
      }
    }
  }
  return undefined;
}

function wrongCalm(state: State, picture: Picture, provider: Provider): string | undefined {
  const { checkout, reservation, screening } = picture;
  if (checkout === undefined) return "I3: an accepted order has no checkout";
  const review = screening?.status === "in_review";
  if (checkout.state !== "completed" && checkout.state !== "cancelled") {
    if (checkout.state === "in_review" && review) return undefined;
    return `I3: an order in ${checkout.state} waits for something that was never asked for, or is lost`;
  }
  const captured = Object.values(provider.captures).some(({ outcome }) => outcome === "captured");
  const kept = captured && Object.keys(provider.refunds).length === 0;
  const completed = checkout.state === "completed";
  if (kept !== completed) return `I1: the money of a ${checkout.state} order is ${kept ? "" : "not "}kept`;
  const { status } = reservation ?? {};
  if ((status === "sold") !== completed || status === "reserved") {
    return `I2: the stock of a ${checkout.state} order is ${status ?? "not reserved"}`;
  }
  if (review) return `a ${checkout.state} order is in the review queue`;
  if (state.timers.some((id) => id > 0)) return `a ${checkout.state} order has a timer`;
  return completed === (checkout.reason === "")
    ? undefined
    : `a ${checkout.state} order has no fitting reason`;
}
