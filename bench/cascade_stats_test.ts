import { expect, test } from "vitest";
import type { Attempt } from "./cascade_load.ts";
import { discrepancies, figuresByPhase, phaseOf, secondsOf, totalsOf } from "./cascade_stats.ts";

const span = { fromMs: 1_000, toMs: 2_000 };

function accepted(dueMs: number, times: { waitMs: number; endedMs?: number }): Attempt {
  const { waitMs, endedMs } = times;
  const end = endedMs === undefined ? {} : { endedMs, state: "completed" as const };
  return { dueMs, sentMs: dueMs + 1, answeredMs: dueMs + waitMs, accepted: true, ...end };
}

function refused(dueMs: number, { waitMs }: { waitMs: number }): Attempt {
  return { dueMs, sentMs: dueMs, answeredMs: dueMs + waitMs, accepted: false, refusal: "503" };
}

const attempts = [
  accepted(0, { waitMs: 10, endedMs: 100 }),
  refused(500, { waitMs: 100 }),
  accepted(1_100, { waitMs: 20, endedMs: 3_500 }),
  refused(1_200, { waitMs: 5_000 }),
  accepted(2_000, { waitMs: 30, endedMs: 4_900 }),
];

test("phaseOf() goes by when an order was due", () => {
  expect([0, 999, 1_000, 1_999, 2_000].map((ms) => phaseOf(ms, span))).toEqual([
    "before",
    "before",
    "during",
    "during",
    "after",
  ]);
});

test("figuresByPhase() keeps the time until an acceptance apart from the time until a refusal", () => {
  const { before, during, after } = figuresByPhase(attempts, span);
  expect(before).toMatchObject({ orders: 2, accepted: 1, accept: { p99: 10 }, refuse: { p99: 100 } });
  expect(during).toMatchObject({ orders: 2, accepted: 1, accept: { p50: 20 }, refuse: { p50: 5_000 } });
  expect(after).toMatchObject({ orders: 1, accepted: 1, refuse: { p50: Number.NaN } });
});

test("secondsOf() has a row for each second until the last order ended", () => {
  const seconds = secondsOf(attempts);
  expect(seconds.map(({ accepted: n }) => n)).toEqual([1, 1, 1, 0, 0]);
  expect(seconds.map(({ open }) => open)).toEqual([0, 1, 2, 1, 0]);
  expect(seconds[1]).toMatchObject({ acceptP99: 20, refuseP99: 5_000 });
  expect(seconds[3]).toMatchObject({ acceptP99: undefined, refuseP99: undefined });
});

test("totalsOf() counts what became of the orders, and how long those from before the end of the fault took", () => {
  expect(totalsOf(attempts, span)).toEqual({
    orders: 5,
    refused: 2,
    refusedBefore: 1,
    completed: 3,
    cancelled: 0,
    unended: 0,
    caughtUpMs: 1_500,
    latestMs: 1,
    refusals: { "503": 2 },
  });
});

test("totalsOf() knows of no catching up where an order did not end", () => {
  const lost = [...attempts, accepted(1_500, { waitMs: 10 })];
  expect(totalsOf(lost, span)).toMatchObject({ unended: 1, caughtUpMs: undefined });
});

test("discrepancies() are what the books gained without an order, in either direction", () => {
  // A unit of before that no order has is not this run's.
  const start = { completed: 10, unitsTaken: 11, paymentsTaken: 10 };
  expect(discrepancies(start, { completed: 20, unitsTaken: 25, paymentsTaken: 21 })).toEqual({
    unitsForNoOrder: 4,
    unitsNotTaken: 0,
    paymentsForNoOrder: 1,
  });
  expect(discrepancies(start, { completed: 20, unitsTaken: 5, paymentsTaken: 20 })).toMatchObject({
    unitsForNoOrder: 0,
    unitsNotTaken: 16,
  });
});
