import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Contract,
  checkoutState,
  decode,
  fulfillmentFailed,
  orderActivated,
  orderCreated,
  orderShipped,
  payment,
  paymentCaptured,
  paymentRefunded,
  reservation,
  type StoredMessage,
} from "../../nats/mod.ts";

/** What the ledgers say of one order, as far as they were read. */
export interface Facts {
  readonly orderId: string;
  /** Whether the order itself was read, which is the first message about it: then nothing is missing. */
  complete: boolean;
  totalCents: bigint;
  plan: string;
  lines: readonly Line[];
  /** How often each kind of message was stored, by the subject without the order. */
  readonly counts: Map<string, number>;
  checkout: Checkout | undefined;
  reservation: Reservation | undefined;
  payment: { status: string; capturedCents: bigint; refundedCents: bigint } | undefined;
  /** Sums of the events, which the payment's own books have to agree with. */
  capturedCents: bigint;
  refundedCents: bigint;
  shipment: string | undefined;
  /** What is wrong in how the history grew. */
  readonly breaks: string[];
  /** When the last of these messages was stored; Unix time in milliseconds. */
  last: number;
}

export interface Line {
  readonly sku: string;
  readonly quantity: number;
}

export interface Reservation {
  readonly status: string;
  readonly lines: readonly Line[];
}

export interface Checkout {
  readonly state: string;
  readonly deadline: number | undefined;
  /** Oldest first. */
  readonly history: readonly { readonly state: string; readonly cause: string }[];
}

export function newFacts(orderId: string): Facts {
  return {
    orderId,
    complete: false,
    totalCents: 0n,
    plan: "",
    lines: [],
    counts: new Map(),
    checkout: undefined,
    reservation: undefined,
    payment: undefined,
    capturedCents: 0n,
    refundedCents: 0n,
    shipment: undefined,
    breaks: [],
    last: 0,
  };
}

/**
 * Adds a message to what is known of its order. Messages of one stream come in their order, each once. One that cannot be
 * decoded is a fault of the order's history.
 */
export function fold(
  facts: Facts,
  kind: string,
  { data, timeMs }: Pick<StoredMessage, "data" | "timeMs">,
): void {
  facts.counts.set(kind, (facts.counts.get(kind) ?? 0) + 1);
  facts.last = Math.max(facts.last, timeMs);
  try {
    readers[kind]?.(facts, data);
  } catch (cause) {
    facts.breaks.push(`a message of ${kind} cannot be decoded (${cause})`);
  }
}

const readers: Record<string, (facts: Facts, data: Uint8Array) => void> = Object.fromEntries([
  reader(orderCreated, (facts, { order }) => {
    facts.complete = true;
    facts.totalCents = order?.totalCents ?? 0n;
    facts.plan = order?.customer?.plan ?? "";
    facts.lines = order?.lines.map(toLine) ?? [];
  }),
  reader(checkoutState, (facts, { state, history, deadline }) => {
    const next: Checkout = {
      state,
      history: history.map((transition) => ({ state: transition.state, cause: transition.cause })),
      deadline: deadline && timestampMs(deadline),
    };
    facts.breaks.push(...breaksBetween(facts.checkout, next));
    facts.checkout = next;
  }),
  reader(reservation, (facts, { status, lines }) => {
    facts.reservation = { status, lines: lines.map(toLine) };
  }),
  reader(payment, (facts, { status, capturedCents, refundedCents }) => {
    facts.payment = { status, capturedCents, refundedCents };
  }),
  reader(paymentCaptured, (facts, { amountCents }) => {
    facts.capturedCents += amountCents;
  }),
  reader(paymentRefunded, (facts, { amountCents }) => {
    facts.refundedCents += amountCents;
  }),
  reader(orderShipped, (facts) => {
    facts.shipment = "shipped";
  }),
  reader(orderActivated, (facts) => {
    facts.shipment = "activated";
  }),
  reader(fulfillmentFailed, (facts) => {
    facts.shipment = "failed";
  }),
]);

function reader<S extends DescMessage>(
  contract: Contract<S>,
  read: (facts: Facts, value: MessageShape<S>) => void,
): [string, (facts: Facts, data: Uint8Array) => void] {
  return [contract.subject, (facts, data) => read(facts, decode(contract, data))];
}

/** I5: each snapshot extends the history of the one before by one transition at most, and is in the last one's state. */
function breaksBetween(before: Checkout | undefined, next: Checkout): string[] {
  const { history, state } = next;
  const known = before?.history ?? history.slice(0, 1);
  const breaks: string[] = [];
  if (before === undefined && history[0]?.state !== "created")
    breaks.push(`it begins as ${history[0]?.state}`);
  const same = known.every(
    ({ state, cause }, index) => history[index]?.state === state && history[index]?.cause === cause,
  );
  if (!same) breaks.push(`its history was rewritten when it became ${state}`);
  if (history.length > known.length + 1) breaks.push(`a transition is missing before ${state}`);
  if (history.at(-1)?.state !== state)
    breaks.push(`it is ${state}, its history ends in ${history.at(-1)?.state}`);
  return breaks;
}

function toLine({ sku, quantity }: Line): Line {
  return { sku, quantity };
}
