import { randomUUID } from "node:crypto";
import type { JetStreamManager } from "@nats-io/jetstream";
import {
  checkoutState,
  isUnavailable,
  key,
  MAX_PAGE,
  pause,
  streamHolding,
  viewReadable,
} from "../nats/mod.ts";
import { insist, post } from "../tools/customer.ts";
import { exampleOrder } from "../tools/example_order.ts";
import type { OrderKind } from "../tools/order_kinds.ts";

export interface TrafficOptions {
  readonly jsm: JetStreamManager;
  /** Base URLs of the order service, and of fraud, where reviews are decided. */
  readonly orderUrl: string;
  readonly fraudUrl: string;
  readonly operatorToken: string;
  readonly kinds: Iterator<OrderKind, unknown>;
  /** Orders a second, and how many in all. */
  readonly rate: number;
  readonly total: number;
  /** How long orders may take to end after the last one was placed. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Called for each order that was due, and once when all are. */
  readonly onDue: () => void;
  readonly onPlaced: () => void;
}

/** An order that was accepted, and where it stands. */
export interface TrafficOrder {
  readonly kind: OrderKind;
  readonly orderId: string;
  state: string;
  /** Of one that was cancelled. */
  reason: string;
}

export interface Traffic {
  readonly orders: readonly TrafficOrder[];
  /** What orders were refused with, or that they were not answered, and how often. */
  readonly refused: ReadonlyMap<string, number>;
  /** Orders that were due while as many were on their way as this sends at once: the shop answers more slowly than they come. */
  readonly skipped: number;
}

/** Requests that wait for an answer. */
const MAX_IN_FLIGHT = 200;
/** A customer goes elsewhere after this. */
const PATIENCE_MS = 15_000;
/** What is on its way when it is to stop may still be answered. */
const STOP_MS = 2_000;
/** How often the orders are looked at. */
const LOOK_EVERY_MS = 500;

const CHECKOUT = streamHolding(checkoutState)?.name ?? "";

/**
 * Places orders at a steady rate, whatever becomes of them, and watches them until all have ended that will by themselves, or
 * `waitMs` are over, or the signal aborts.
 */
export async function runTraffic(options: TrafficOptions): Promise<Traffic> {
  const { rate, total, kinds, signal, waitMs, onDue, onPlaced } = options;
  const orders: TrafficOrder[] = [];
  const refused = new Map<string, number>();
  const inFlight = new Set<Promise<void>>();
  // An order that is on its way when the run is stopped has a moment to be answered.
  const stopped = new AbortController();
  using watch = watchOrders(orders, options);
  let skipped = 0;
  const begin = performance.now();
  for (let n = 0; n < total && !signal.aborted; n++) {
    await pause(Math.max(0, begin + (n * 1_000) / rate - performance.now()), signal);
    if (signal.aborted) break;
    onDue();
    const kind = kinds.next().value as OrderKind;
    if (inFlight.size >= MAX_IN_FLIGHT) {
      skipped += 1;
      continue;
    }
    const placing = place(kind, options, stopped.signal).then((placed) => {
      inFlight.delete(placing);
      if (typeof placed === "string") refused.set(placed, (refused.get(placed) ?? 0) + 1);
      else orders.push(placed);
    });
    inFlight.add(placing);
  }
  onPlaced();
  const answered = Promise.all(inFlight);
  if (!signal.aborted) await Promise.race([answered, aborted(signal)]);
  const late = setTimeout(() => stopped.abort(), STOP_MS);
  await answered;
  clearTimeout(late);
  const giveUpAt = performance.now() + waitMs;
  while (!signal.aborted && performance.now() < giveUpAt && orders.some(isOnItsWay))
    await pause(LOOK_EVERY_MS, signal);
  await watch.last();
  return { orders, refused, skipped };
}

/** Whether it will be somewhere else without anybody's doing: a review that is left to a person will not. */
export function isOnItsWay({ state, kind }: TrafficOrder): boolean {
  return !hasEnded(state) && !(state === "in_review" && kind.ends.length === 0);
}

export function hasEnded(state: string): boolean {
  return state === "completed" || state === "cancelled";
}

/** The order, or why there is none. */
async function place(
  kind: OrderKind,
  { orderUrl }: TrafficOptions,
  signal: AbortSignal,
): Promise<TrafficOrder | string> {
  const idempotencyKey = `traffic-${randomUUID()}`;
  const request = { key: idempotencyKey, body: { ...exampleOrder, ...kind.changes }, signal };
  const to = { url: () => orderUrl, patienceMs: PATIENCE_MS };
  const { status, answer } = await insist("/orders", request, to);
  if (status === 0) return "no answer";
  if (status !== 202 || answer.order_id === undefined) return `${status} ${answer.detail ?? ""}`.trim();
  const { order_id: orderId } = answer;
  // What becomes of the wish, the order says.
  if (kind.cancels) await insist(`/orders/${orderId}/cancel`, { key: idempotencyKey, signal }, to);
  return { kind, orderId, state: "created", reason: "" };
}

/** Looks at the orders again and again, all of them at once, and decides the reviews that are to be decided. */
function watchOrders(orders: readonly TrafficOrder[], options: TrafficOptions) {
  const over = new AbortController();
  const decided = new Set<string>();
  const look = async () => {
    try {
      await lookAt(
        orders.filter(({ state }) => !hasEnded(state)),
        options.jsm,
      );
      const due = orders.filter((order) => order.state === "in_review" && !decided.has(order.orderId));
      await Promise.all(due.map((order) => decide(order, decided, options)));
    } catch (cause) {
      // Servers come back, and the orders are looked at again.
      if (!isUnavailable(cause)) throw cause;
    }
  };
  const watching = (async () => {
    while (!over.signal.aborted) {
      await look();
      await pause(LOOK_EVERY_MS, over.signal);
    }
  })();
  // Told to whoever asks for the last look.
  watching.catch(() => undefined);
  return {
    async last(): Promise<void> {
      over.abort();
      await watching;
      await look();
    },
    [Symbol.dispose]: () => over.abort(),
  };
}

async function lookAt(orders: readonly TrafficOrder[], jsm: JetStreamManager): Promise<void> {
  for (let from = 0; from < orders.length; from += MAX_PAGE) {
    const some = orders.slice(from, from + MAX_PAGE);
    const keys = some.map(({ orderId }) => key(checkoutState, orderId));
    for (const [index, checkout] of (await viewReadable(jsm, CHECKOUT, keys)).entries()) {
      const order = some[index];
      if (order === undefined || checkout === undefined || checkout === "unreadable") continue;
      order.state = checkout.state;
      order.reason = checkout.reason;
    }
  }
}

/** As the reviewer whom the kind of order has. One that gets no answer is asked for again at the next look. */
async function decide(
  { kind, orderId }: TrafficOrder,
  decided: Set<string>,
  { fraudUrl, operatorToken }: TrafficOptions,
): Promise<void> {
  if (kind.review === undefined) return;
  const { status } = await post(fraudUrl, `/reviews/${orderId}/decision`, {
    key: orderId,
    headers: { authorization: `Bearer ${operatorToken}` },
    body: { decision: kind.review, reviewer: "traffic", note: "decided by ops traffic" },
  });
  if (status > 0 && status < 500) decided.add(orderId);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
