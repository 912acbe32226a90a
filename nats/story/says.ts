import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { CheckoutStateSchema } from "../../gen/shop/checkout/v1/checkout_state_pb.ts";
import type { WaitingDueSchema } from "../../gen/shop/waiting/v1/waiting_due_pb.ts";
import type { WaitingSchema } from "../../gen/shop/waiting/v1/waiting_pb.ts";
import { type Contract, decode, splitSubject } from "../contracts/contract.ts";
import * as shop from "../contracts/shop.ts";
import { counted } from "../counted.ts";

/** What a message is to the order that it is about. */
export type EntryKind =
  | "transition"
  | "state"
  | "command"
  | "event"
  | "timer_set"
  | "timer_fired"
  | "mail"
  | "dead_letter"
  | "other";

/** What a message says. */
export interface Said {
  readonly kind: EntryKind;
  /** One plain line for anybody who may see the order: nothing of a person, no means of payment, no reason for suspicion. */
  readonly says: string;
  /** What else operators may know: names, notes, rules, codes. */
  readonly details?: Readonly<Record<string, string>>;
  /** When the timer fires that was set with it or is it; `deadline`: when what it says is overdue. Unix time in milliseconds. */
  readonly timerAt?: number;
  readonly deadline?: number;
}

interface Reader {
  readonly schema: DescMessage;
  /** @param before The last message of the same subject, undefined if it is the first. */
  say(data: Uint8Array, before: Uint8Array | undefined): Said;
}

/**
 * What the data of a message under `subjectKind` says. A line, whatever the data is: what cannot be decoded says so.
 *
 * @param subjectKind The subject without its id.
 * @param before Data of the message that the same subject had before it.
 */
export function sayOf(subjectKind: string, data: Uint8Array, before: Uint8Array | undefined): Said {
  const reader = readers.get(subjectKind);
  if (reader === undefined) return { kind: "other", says: "no message that this version knows" };
  try {
    const { says, details, ...rest } = reader.say(data, before);
    return {
      ...rest,
      says: oneLine(says),
      ...(details && { details: mapValues(details, oneLine) }),
    };
  } catch {
    return { kind: "other", says: `cannot be decoded as ${reader.schema.typeName}` };
  }
}

/** Contracts that a story has a line for, by their subject. */
export function isTold({ subject }: Contract): boolean {
  return readers.has(subject);
}

/** Whether it is what a timer says that has fired. It has the headers of the timer, which was of another decision. */
export function isFired(subjectKind: string): boolean {
  return fired.has(subjectKind);
}

const fired = new Set(
  Object.values(shop)
    .filter((contract) => contract.fired)
    .map(({ subject }) => subject),
);

type Line = string | Omit<Said, "kind">;

function tell<S extends DescMessage>(
  kind: EntryKind,
  contract: Contract<S>,
  say: (value: MessageShape<S>, before: MessageShape<S> | undefined) => Line | Said,
): [string, Reader] {
  const { schema } = contract;
  return [
    contract.subject,
    {
      schema,
      say(data, before) {
        const line = say(decode(contract, data), before && decodeIf(contract, before));
        return typeof line === "string" ? { kind, says: line } : { kind, ...line };
      },
    },
  ];
}

/** Undefined for what is no such message: what follows it can be told all the same. */
function decodeIf<S extends DescMessage>(
  contract: Contract<S>,
  data: Uint8Array,
): MessageShape<S> | undefined {
  try {
    return decode(contract, data);
  } catch {
    return undefined;
  }
}

const readers: ReadonlyMap<string, Reader> = new Map([
  tell("event", shop.orderCreated, ({ order }) => {
    const plan = `${order?.customer?.plan} plan`;
    return `order placed: ${goods(order?.lines)}; ${money(order?.totalCents, order?.currency)}; ${plan}`;
  }),
  tell("event", shop.orderCancelRequested, () => "the customer asks to cancel"),

  tell("transition", shop.checkoutState, checkoutSays),
  tell("command", shop.reserveStock, ({ lines }) => `inventory, reserve ${goods(lines)}`),
  tell("command", shop.releaseStock, ({ lines }) => `inventory, release ${goods(lines)}`),
  tell("command", shop.screenOrder, () => "fraud, screen the order"),
  tell("command", shop.closeReview, ({ reason }) => `fraud, close the review: ${reason}`),
  tell(
    "command",
    shop.chargePayment,
    ({ amountCents, currency }) => `payment, charge ${money(amountCents, currency)}`,
  ),
  tell("command", shop.refundPayment, ({ reason }) => `payment, refund: ${reason}`),
  tell("command", shop.fulfillOrder, () => "fulfillment, hand the order over"),
  tell("event", shop.checkoutCompleted, () => "the order is completed"),
  tell("event", shop.checkoutCancelled, ({ reason }) => `the order is cancelled: ${reason}`),
  tell("timer_set", shop.checkoutTimer, ({ state, deadline }) => ({
    says: `timer of ${state}, set for ${time(deadline)}`,
    ...(deadline && { timerAt: timestampMs(deadline) }),
  })),
  tell(
    "timer_fired",
    shop.deadlinePassed,
    ({ state, deadline }) => `the timer fired that was set in ${state} for ${time(deadline)}`,
  ),

  tell("state", shop.reservation, ({ status, lines }) =>
    lines.length > 0 ? `stock ${status}: ${goods(lines)}` : `stock ${status}`,
  ),
  tell("event", shop.stockReserved, () => "all of it is reserved"),
  tell("event", shop.stockRejected, ({ shortages }) => {
    const short = shortages.map(
      ({ sku, requested, available }) => `${sku} (${requested} asked for, ${available} there)`,
    );
    return `nothing is reserved, too little of ${short.join(", ")}`;
  }),
  tell("event", shop.stockReleased, () => "nothing is held any more"),

  tell("state", shop.payment, ({ status, amountCents, currency, declineCode, settlement }) =>
    withDetails(`payment ${status}: ${money(amountCents, currency)}`, {
      decline_code: declineCode,
      settled_by: settlement?.settledBy ?? "",
      note: settlement?.note ?? "",
    }),
  ),
  tell(
    "event",
    shop.paymentCaptured,
    ({ amountCents, currency }) => `captured ${money(amountCents, currency)}`,
  ),
  tell("event", shop.paymentDeclined, ({ declineCode }) =>
    withDetails("the provider declined", { decline_code: declineCode }),
  ),
  tell(
    "event",
    shop.paymentRefunded,
    ({ amountCents, currency }) => `refunded ${money(amountCents, currency)}`,
  ),
  tell("event", shop.refundRefused, ({ code }) =>
    withDetails("the provider will not refund: a person has to settle it", { code }),
  ),
  tell("event", shop.paymentVoided, () => "nothing was captured, and nothing will be"),

  ...waitingSays(shop.paymentWaiting, shop.paymentWaitingTimer, shop.paymentWaitingDue),

  tell("state", shop.screening, ({ status, evidence, expiresAt, decision }) => ({
    ...withDetails(`review ${status}`, {
      rules: [...new Set(evidence.map(({ rule }) => rule))].join(", "),
      reviewer: decision?.reviewer ?? "",
      note: decision?.note ?? "",
    }),
    ...(status === "in_review" && expiresAt && { deadline: timestampMs(expiresAt) }),
  })),
  tell("event", shop.orderCleared, () => "cleared, no rule hit"),
  tell("event", shop.orderFlagged, ({ rules, expiresAt }) =>
    withDetails(`a person must look at it, until ${time(expiresAt)}`, { rules: rules.join(", ") }),
  ),
  tell("event", shop.reviewApproved, ({ reviewer, note }) =>
    withDetails("a person let it pass", { reviewer, note }),
  ),
  tell("event", shop.reviewRejected, ({ reviewer, note }) =>
    withDetails("a person refused it", { reviewer, note }),
  ),
  tell("event", shop.reviewExpired, () => "nobody decided in time"),
  tell("timer_set", shop.reviewTimer, () => "timer of the review"),
  tell("timer_fired", shop.reviewDue, () => "the timer of the review fired"),

  tell(
    "event",
    shop.orderShipped,
    ({ carrier, trackingNumber }) => `shipped by ${carrier}, ${trackingNumber}`,
  ),
  tell("event", shop.orderActivated, () => "access is activated"),
  tell("event", shop.fulfillmentFailed, ({ failure }) => `cannot be handed over: ${failure}`),

  tell("mail", shop.mail, ({ kind }) => `mail sent: ${kind}`),
  ...waitingSays(shop.mailWaiting, shop.mailWaitingTimer, shop.mailWaitingDue),
]);

/** The reason is what somebody outside the shop has said, who may have named a person. */
function waitingSays(
  state: Contract<typeof WaitingSchema>,
  timer: Contract<typeof WaitingDueSchema>,
  due: Contract<typeof WaitingDueSchema>,
): [string, Reader][] {
  return [
    tell("state", state, ({ subject, tries, nextTryAt, reason }) => {
      const what = splitSubject(subject).prefix;
      if (nextTryAt === undefined) return `${what} waits no more`;
      return withDetails(`${what} was tried ${counted(tries, "time")}, and is again at ${time(nextTryAt)}`, {
        reason,
      });
    }),
    tell("timer_set", timer, ({ subject, at }) => ({
      says: `timer of ${splitSubject(subject).prefix}, set for ${time(at)}`,
      ...(at && { timerAt: timestampMs(at) }),
    })),
    tell("timer_fired", due, ({ subject }) => `it is time to try ${splitSubject(subject).prefix} again`),
  ];
}

type Checkout = MessageShape<typeof CheckoutStateSchema>;

/**
 * A transition, or what else the coordinator has to remember: an event that is kept for later, one whose effect is undone, a
 * participant that was asked again, a timer that was set anew.
 */
function checkoutSays(after: Checkout, before: Checkout | undefined): Said {
  const known = before?.history.length ?? 1;
  const steps = after.history.slice(known).map(({ state, cause }) => `→ ${state}, by ${cause}`);
  const from = after.history[known - 1]?.state ?? "nothing";
  const deferred = after.deferred.slice(before?.deferred.length ?? 0).map(({ event }) => event);
  const undone = after.compensated.slice(before?.compensated.length ?? 0);
  const timer = timerOf(after);
  const others = [
    ...deferred.map((event) => `${event} is kept for later`),
    ...undone.map((event) => `${event} came too late, its effect is undone`),
  ];
  const same = others.length === 0 ? [`${after.state}, asked again or timer set anew`] : others;
  const parts = [...(steps.length > 0 ? [[from, ...steps].join(" "), ...others] : same)];
  if (after.reason !== "" && after.reason !== before?.reason) parts.push(`since ${after.reason}`);
  return {
    kind: steps.length > 0 ? "transition" : "state",
    says: parts.join("; "),
    ...(timer !== undefined && timer !== timerOf(before) && { timerAt: timer }),
    ...(after.deadline && { deadline: timestampMs(after.deadline) }),
  };
}

function timerOf(checkout: Checkout | undefined): number | undefined {
  return checkout?.timerAt && timestampMs(checkout.timerAt);
}

function withDetails(says: string, details: Readonly<Record<string, string>>): Omit<Said, "kind"> {
  const known = Object.entries(details).filter(([, value]) => value !== "");
  return { says, ...(known.length > 0 && { details: Object.fromEntries(known) }) };
}

function goods(lines: readonly { sku: string; quantity: number }[] = []): string {
  return lines.map(({ sku, quantity }) => `${quantity} ${sku}`).join(", ");
}

function money(cents: bigint | undefined, currency: string | undefined): string {
  return counted(cents ?? 0n, `${currency} cent`);
}

/** RFC 3339, in UTC. */
function time(at: Timestamp | undefined): string {
  return at === undefined ? "no time" : new Date(timestampMs(at)).toISOString();
}

/** What comes from outside may hold anything: it is not to move a terminal's cursor, nor to fill its screen. */
export function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}\p{Cf}]+/gu, " ").slice(0, MAX_LINE);
}

const MAX_LINE = 500;

export function mapValues(
  values: Readonly<Record<string, string>>,
  change: (value: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));
}
