import type { Attempt } from "./cascade_load.ts";
import type { Books } from "./cascade_side.ts";
import { type Latency, latencyOf } from "./stats.ts";

/** When the fault began and when it was ended, in milliseconds from the start of the load. */
export interface FaultSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

export const phases = ["before", "during", "after"] as const;
export type Phase = (typeof phases)[number];

/** What became of the orders that were due in one phase. */
export interface PhaseFigures {
  readonly orders: number;
  readonly accepted: number;
  /** From when the order was due until it was accepted. */
  readonly accept: Latency;
  /** The same until it was refused. */
  readonly refuse: Latency;
}

/** What became of the orders that were due in one second. */
export interface Second {
  readonly second: number;
  readonly accepted: number;
  /** Undefined where none was accepted. */
  readonly acceptP99: number | undefined;
  /** Undefined where none was refused. */
  readonly refuseP99: number | undefined;
  /** Orders that had been accepted and not ended when the second was over. */
  readonly open: number;
}

export interface Totals {
  readonly orders: number;
  /** Nobody told the customer that the order is taken. */
  readonly refused: number;
  /** Of them, those that the fault cannot have been the reason for. */
  readonly refusedBefore: number;
  readonly completed: number;
  readonly cancelled: number;
  /** Accepted, and heard of no more. */
  readonly unended: number;
  /** How long after the fault the last of the orders from before its end ended. Undefined if one did not. */
  readonly caughtUpMs: number | undefined;
  /** Longest that the generator was late with an order. */
  readonly latestMs: number;
  /** Why orders were refused, each reason with how often. */
  readonly refusals: Readonly<Record<string, number>>;
}

export function phaseOf(dueMs: number, { fromMs, toMs }: FaultSpan): Phase {
  if (dueMs < fromMs) return "before";
  return dueMs < toMs ? "during" : "after";
}

export function figuresByPhase(attempts: readonly Attempt[], span: FaultSpan): Record<Phase, PhaseFigures> {
  const figures = (phase: Phase): PhaseFigures => {
    const own = attempts.filter(({ dueMs }) => phaseOf(dueMs, span) === phase);
    const waits = (accepted: boolean) =>
      latencyOf(own.filter((one) => one.accepted === accepted).map(waitOf));
    return {
      orders: own.length,
      accepted: own.filter(({ accepted }) => accepted).length,
      accept: waits(true),
      refuse: waits(false),
    };
  };
  return { before: figures("before"), during: figures("during"), after: figures("after") };
}

/** From 0 until no order is open any more, or as long as there was load. */
export function secondsOf(attempts: readonly Attempt[]): Second[] {
  const lastMs = attempts.reduce((last, { dueMs, endedMs = 0 }) => Math.max(last, dueMs, endedMs), 0);
  const bySecond = Map.groupBy(attempts, ({ dueMs }) => Math.floor(dueMs / 1_000));
  const load = attempts.reduce((last, { dueMs }) => Math.max(last, Math.floor(dueMs / 1_000) + 1), 0);
  return Array.from({ length: Math.max(load, Math.ceil(lastMs / 1_000)) }, (_, second) => {
    const own = bySecond.get(second) ?? [];
    const p99 = (accepted: boolean) => {
      const waits = own.filter((one) => one.accepted === accepted).map(waitOf);
      return waits.length === 0 ? undefined : latencyOf(waits).p99;
    };
    const overMs = (second + 1) * 1_000;
    const isOpen = ({ accepted, answeredMs, endedMs }: Attempt) =>
      accepted && answeredMs < overMs && (endedMs === undefined || endedMs >= overMs);
    return {
      second,
      accepted: own.filter(({ accepted }) => accepted).length,
      acceptP99: p99(true),
      refuseP99: p99(false),
      open: attempts.filter(isOpen).length,
    };
  });
}

export function totalsOf(attempts: readonly Attempt[], { fromMs, toMs }: FaultSpan): Totals {
  const count = (test: (attempt: Attempt) => boolean) => attempts.filter(test).length;
  const held = attempts.filter(({ accepted, dueMs }) => accepted && dueMs < toMs);
  const ends = held.map(({ endedMs }) => endedMs);
  const lastEnd = ends.includes(undefined)
    ? undefined
    : (ends as number[]).reduce((last, end) => Math.max(last, end), toMs);
  const reasons = Map.groupBy(
    attempts.filter(({ accepted }) => !accepted),
    ({ refusal = "" }) => refusal,
  );
  return {
    orders: attempts.length,
    refused: count(({ accepted }) => !accepted),
    refusedBefore: count(({ accepted, answeredMs }) => !accepted && answeredMs < fromMs),
    completed: count(({ state }) => state === "completed"),
    cancelled: count(({ state }) => state === "cancelled"),
    unended: count(({ accepted, endedMs }) => accepted && endedMs === undefined),
    caughtUpMs: lastEnd === undefined ? undefined : lastEnd - toMs,
    latestMs: attempts.reduce((most, { dueMs, sentMs }) => Math.max(most, sentMs - dueMs), 0),
    refusals: Object.fromEntries([...reasons].map(([reason, those]) => [reason, those.length])),
  };
}

/** What does not belong together in a system's own books, gained between two looks at them. */
export interface Discrepancies {
  /** Gone from the stock, and no order has them. */
  readonly unitsForNoOrder: number;
  /** Sold, and the stock does not know. */
  readonly unitsNotTaken: number;
  /** Taken, and no order is completed for them. */
  readonly paymentsForNoOrder: number;
}

export function discrepancies(start: Books, end: Books): Discrepancies {
  const completed = end.completed - start.completed;
  const units = end.unitsTaken - start.unitsTaken - completed;
  return {
    unitsForNoOrder: Math.max(0, units),
    unitsNotTaken: Math.max(0, -units),
    paymentsForNoOrder: Math.max(0, end.paymentsTaken - start.paymentsTaken - completed),
  };
}

function waitOf({ dueMs, answeredMs }: Attempt): number {
  return answeredMs - dueMs;
}
