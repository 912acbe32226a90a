import {
  checkoutCancelled,
  checkoutCompleted,
  fulfillmentFailed,
  mail,
  orderActivated,
  orderCleared,
  orderCreated,
  orderFlagged,
  orderShipped,
  paymentCaptured,
  paymentDeclined,
  paymentRefunded,
  paymentVoided,
  reviewApproved,
  reviewExpired,
  reviewRejected,
  stockRejected,
  stockReleased,
  stockReserved,
} from "../../nats/contracts/mod.ts";
import { counted } from "../../nats/mod.ts";
import type { Facts, Line, Reservation } from "./facts.ts";

/** The invariants of the design, which README and metrics name. */
export const invariants = ["I1", "I2", "I3", "I4", "I5"] as const;
export type Invariant = (typeof invariants)[number];

export interface Violation {
  readonly invariant: Invariant;
  /** The order's id, or the sku's. */
  readonly subject: string;
  readonly detail: string;
}

export interface JudgeOptions {
  /** Unix time in milliseconds. */
  now: number;
  /** How long a deadline may be over: longer than the coordinator's sweep takes to find it. Default 60,000. */
  overdueGraceMs?: number;
  /** Whether the coordinator's table has this transition. Default: not checked. */
  isTransition?: (from: string, cause: string, to: string) => boolean;
}

/** What a quiet order has to have in a state; what is not said may be either way. */
interface Expectation {
  readonly money?: "all" | "none";
  readonly stock?: "reserved" | "sold" | "none";
  readonly goods?: "handed over" | "none";
}

const expectations: Readonly<Record<string, Expectation>> = {
  reserving: { money: "none", goods: "none" },
  screening: { money: "none", stock: "reserved", goods: "none" },
  in_review: { money: "none", stock: "reserved", goods: "none" },
  charging: { stock: "reserved", goods: "none" },
  fulfilling: { money: "all", stock: "reserved" },
  completed: { money: "all", stock: "sold", goods: "handed over" },
  refunding: { stock: "reserved", goods: "none" },
  releasing: { goods: "none" },
  cancelled: { money: "none", stock: "none", goods: "none" },
};
const nothing: Expectation = { money: "none", stock: "none", goods: "none" };

/** Of each row at most one, and that once. */
const onceEach: readonly (readonly { readonly subject: string }[])[] = [
  [orderCreated],
  [stockReserved],
  [stockRejected],
  [stockReleased],
  [orderCleared, orderFlagged],
  [reviewApproved, reviewRejected, reviewExpired],
  [paymentCaptured],
  [paymentDeclined],
  [paymentRefunded],
  [paymentVoided],
  [orderShipped, orderActivated, fulfillmentFailed],
  [checkoutCompleted, checkoutCancelled],
];

export function hasEnded({ checkout }: Facts): boolean {
  return checkout?.state === "completed" || checkout?.state === "cancelled";
}

/** Whether the order should have moved on long ago. */
export function isOverdue({ checkout }: Facts, { now, overdueGraceMs = 60_000 }: JudgeOptions): boolean {
  return checkout?.deadline !== undefined && checkout.deadline + overdueGraceMs < now;
}

/** What is wrong with an order that nothing has happened to for a while, if nothing is under way about it. */
export function judge(facts: Facts, options: JudgeOptions): Violation[] {
  const { orderId: subject } = facts;
  return [
    ...moneyFaults(facts).map((detail) => ({ invariant: "I1" as const, subject, detail })),
    ...stockFaults(facts).map((detail) => ({ invariant: "I2" as const, subject, detail })),
    ...endFaults(facts, options).map((detail) => ({ invariant: "I3" as const, subject, detail })),
    ...effectFaults(facts).map((detail) => ({ invariant: "I4" as const, subject, detail })),
    ...historyFaults(facts, options).map((detail) => ({ invariant: "I5" as const, subject, detail })),
  ];
}

function expectationOf({ checkout }: Facts): Expectation {
  return checkout === undefined ? nothing : (expectations[checkout.state] ?? {});
}

function stateOf({ checkout }: Facts): string {
  return checkout?.state ?? "not known to the coordinator";
}

/** I1: money captured and not refunded ⇔ completed, or on its way there. */
function moneyFaults(facts: Facts): string[] {
  const { payment, capturedCents, refundedCents, totalCents } = facts;
  const faults: string[] = [];
  if (capturedCents !== (payment?.capturedCents ?? 0n))
    faults.push(
      `${counted(capturedCents, "cent was", "cents were")} captured, the books say ${payment?.capturedCents ?? 0n}`,
    );
  if (refundedCents !== (payment?.refundedCents ?? 0n))
    faults.push(
      `${counted(refundedCents, "cent was", "cents were")} refunded, the books say ${payment?.refundedCents ?? 0n}`,
    );
  const kept = capturedCents - refundedCents;
  const { money } = expectationOf(facts);
  const due = money === "all" ? totalCents : money === "none" ? 0n : undefined;
  if (due !== undefined && kept !== due)
    faults.push(
      `${counted(kept, "cent is", "cents are")} kept of an order that is ${stateOf(facts)}, ${due} are due`,
    );
  return faults;
}

/** I2, for one order: stock is reserved ⇔ it is live, sold ⇔ it is completed. */
function stockFaults(facts: Facts): string[] {
  const { reservation, lines } = facts;
  const { stock } = expectationOf(facts);
  if (stock === undefined) return [];
  const taken = takenText(reservation);
  const wanted = takenText({ status: stock, lines });
  return taken === wanted ? [] : [`it has ${taken} and is ${stateOf(facts)}, ${wanted} is due`];
}

/** `2 × mug sold`. */
function takenText(reservation: Reservation | undefined): string {
  if (reservation?.status !== "reserved" && reservation?.status !== "sold") return "nothing";
  const text = toText(reservation.lines);
  return text === "" ? "nothing" : `${text} ${reservation.status}`;
}

/** I3: every accepted order ends. */
function endFaults(facts: Facts, options: JudgeOptions): string[] {
  const { checkout, complete } = facts;
  if (complete && checkout === undefined) return ["it was accepted and its checkout never began"];
  if (!complete) return ["messages are about an order that was never placed"];
  if (!hasEnded(facts) && checkout?.deadline === undefined)
    return [`it is ${stateOf(facts)} without a deadline`];
  if (hasEnded(facts) || !isOverdue(facts, options)) return [];
  return [`it is ${stateOf(facts)}, its deadline was ${new Date(checkout?.deadline ?? 0).toISOString()}`];
}

/** I4: each effect once. */
function effectFaults(facts: Facts): string[] {
  const { counts, shipment } = facts;
  const times = (subject: string) => counts.get(subject) ?? 0;
  const faults = onceEach.flatMap((kinds) => {
    const found = kinds.filter(({ subject }) => times(subject) > 0);
    const sum = found.reduce((total, { subject }) => total + times(subject), 0);
    return sum <= 1 ? [] : [found.map(({ subject }) => `${times(subject)} × ${subject}`).join(" and ")];
  });
  for (const [kind, number] of counts) {
    if (kind.startsWith(`${mail.subject}.`) && number > 1) faults.push(`${number} × ${kind}`);
  }
  const { goods } = expectationOf(facts);
  const gone = shipment === "shipped" || shipment === "activated";
  if (goods === "none" && gone) faults.push(`it was ${shipment} and is ${stateOf(facts)}`);
  if (goods === "handed over" && !gone) faults.push(`it is ${stateOf(facts)} and nothing was handed over`);
  const wanted = facts.plan === "trial" ? "activated" : "shipped";
  if (gone && facts.complete && shipment !== wanted) faults.push(`it was ${shipment}, not ${wanted}`);
  const end = facts.checkout?.state === "completed" ? checkoutCompleted : checkoutCancelled;
  if (hasEnded(facts) && times(end.subject) !== 1)
    faults.push(`it is ${stateOf(facts)} with ${times(end.subject)} × ${end.subject}`);
  return faults;
}

/** I5: the history is a path of the table. */
function historyFaults({ breaks, checkout }: Facts, { isTransition }: JudgeOptions): string[] {
  const history = checkout?.history ?? [];
  if (isTransition === undefined) return breaks;
  const wrong = history.flatMap(({ state, cause }, index) => {
    const from = history[index - 1]?.state;
    if (from === undefined || isTransition(from, cause, state)) return [];
    return [`the table does not lead from ${from} to ${state} by ${cause}`];
  });
  return [...breaks, ...wrong];
}

function toText(lines: readonly Line[]): string {
  return lines
    .map(({ sku, quantity }) => `${quantity} × ${sku}`)
    .sort()
    .join(", ");
}
