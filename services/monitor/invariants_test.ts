import { describe, expect, it } from "vitest";
import { type Facts, newFacts } from "./facts.ts";
import { type JudgeOptions, judge } from "./invariants.ts";

const now = Date.parse("2026-01-01T12:00:00Z");
const lines = [{ sku: "mug", quantity: 2 }];

/** An order that is as it should be. */
function completed(changes: Partial<Facts> = {}): Facts {
  return {
    ...newFacts("o1"),
    complete: true,
    totalCents: 2_400n,
    plan: "standard",
    lines,
    counts: new Map([
      ["order.created", 1],
      ["inventory.stock_reserved", 1],
      ["payment.captured", 1],
      ["fulfillment.shipped", 1],
      ["checkout.completed", 1],
      ["notification.mail.*.order_completed", 1],
    ]),
    checkout: { state: "completed", deadline: undefined, history: [] },
    reservation: { status: "sold", lines },
    payment: { status: "captured", capturedCents: 2_400n, refundedCents: 0n },
    capturedCents: 2_400n,
    shipment: "shipped",
    ...changes,
  };
}

function cancelled(changes: Partial<Facts> = {}): Facts {
  return completed({
    counts: new Map([
      ["order.created", 1],
      ["checkout.cancelled", 1],
    ]),
    checkout: { state: "cancelled", deadline: undefined, history: [] },
    reservation: { status: "released", lines: [] },
    payment: { status: "refunded", capturedCents: 2_400n, refundedCents: 2_400n },
    refundedCents: 2_400n,
    shipment: "failed",
    ...changes,
  });
}

const live = (state: string, changes: Partial<Facts> = {}) =>
  completed({
    counts: new Map(),
    checkout: { state, deadline: now + 1_000, history: [] },
    reservation: { status: "reserved", lines },
    payment: undefined,
    capturedCents: 0n,
    shipment: undefined,
    ...changes,
  });

function verdict(facts: Facts, options: Partial<JudgeOptions> = {}): string[] {
  return judge(facts, { now, ...options }).map(({ invariant, detail }) => `${invariant} ${detail}`);
}

const plus = (facts: Facts, kind: string) => ({ counts: new Map([...facts.counts, [kind, 2]]) });

describe("judge()", () => {
  it("finds nothing wrong with orders as they should be", () => {
    const trial = completed({ plan: "trial", shipment: "activated" });
    const early = cancelled({
      reservation: undefined,
      payment: undefined,
      capturedCents: 0n,
      refundedCents: 0n,
      shipment: undefined,
    });
    const orders = [
      completed(),
      trial,
      cancelled(),
      early,
      live("screening"),
      live("in_review"),
      live("charging"),
    ];
    for (const facts of orders) expect(verdict(facts)).toEqual([]);
  });

  it("I1: misses money of a completed order, and finds money of a cancelled one", () => {
    expect(verdict(completed({ capturedCents: 0n, payment: undefined }))).toEqual([
      "I1 0 cents are kept of an order that is completed, 2400 are due",
    ]);
    expect(
      verdict(
        cancelled({
          refundedCents: 0n,
          payment: { status: "captured", capturedCents: 2_400n, refundedCents: 0n },
        }),
      ),
    ).toEqual(["I1 2400 cents are kept of an order that is cancelled, 0 are due"]);
    expect(verdict(live("in_review", { capturedCents: 1n }))).toContainEqual(
      expect.stringMatching(/^I1 1 cent is kept/),
    );
  });

  it("I1: compares the events with the books", () => {
    expect(verdict(completed({ capturedCents: 4_800n }))).toContain(
      "I1 4800 cents were captured, the books say 2400",
    );
  });

  it("I2: stock is reserved by live orders, sold to completed ones, and neither otherwise, to the unit", () => {
    expect(verdict(completed({ reservation: { status: "released", lines: [] } }))).toEqual([
      "I2 it has nothing and is completed, 2 × mug sold is due",
    ]);
    expect(
      verdict(completed({ reservation: { status: "sold", lines: [{ sku: "mug", quantity: 1 }] } })),
    ).toEqual(["I2 it has 1 × mug sold and is completed, 2 × mug sold is due"]);
    expect(verdict(completed({ reservation: { status: "reserved", lines } }))).toEqual([
      "I2 it has 2 × mug reserved and is completed, 2 × mug sold is due",
    ]);
    expect(verdict(live("screening", { reservation: { status: "sold", lines } }))).toEqual([
      "I2 it has 2 × mug sold and is screening, 2 × mug reserved is due",
    ]);
    for (const status of ["reserved", "sold"])
      expect(verdict(cancelled({ reservation: { status, lines } }))).toEqual([
        `I2 it has 2 × mug ${status} and is cancelled, nothing is due`,
      ]);
  });

  it("I3: every accepted order begins, moves on and ends", () => {
    expect(verdict(live("", { checkout: undefined, reservation: undefined }))).toEqual([
      "I3 it was accepted and its checkout never began",
    ]);
    const late = live("charging", { checkout: { state: "charging", deadline: now - 61_000, history: [] } });
    expect(verdict(late)).toEqual(["I3 it is charging, its deadline was 2026-01-01T11:58:59.000Z"]);
    expect(verdict(late, { overdueGraceMs: 62_000 })).toEqual([]);
    const stuck = live("charging", { checkout: { state: "charging", deadline: undefined, history: [] } });
    expect(verdict(stuck)).toEqual(["I3 it is charging without a deadline"]);
  });

  it("I4: each effect happens once", () => {
    for (const kind of [
      "payment.captured",
      "inventory.stock_reserved",
      "order.created",
      "fraud.order_cleared",
    ]) {
      expect(verdict(completed(plus(completed(), kind)))).toEqual([`I4 2 × ${kind}`]);
    }
    expect(verdict(completed(plus(completed(), "notification.mail.*.order_completed")))).toEqual([
      "I4 2 × notification.mail.*.order_completed",
    ]);
    expect(verdict(completed(plus(completed(), "fulfillment.failed")))).toEqual([
      "I4 1 × fulfillment.shipped and 2 × fulfillment.failed",
    ]);
    expect(verdict(completed({ shipment: undefined }))).toEqual([
      "I4 it is completed and nothing was handed over",
    ]);
    expect(verdict(cancelled({ shipment: "shipped" }))).toEqual(["I4 it was shipped and is cancelled"]);
    expect(verdict(completed({ plan: "trial" }))).toEqual(["I4 it was shipped, not activated"]);
  });

  it("I5: the history is a path of the table", () => {
    expect(verdict(completed({ breaks: ["a transition is missing before completed"] }))).toEqual([
      "I5 a transition is missing before completed",
    ]);
    const history = [
      { state: "created", cause: "order.created" },
      { state: "completed", cause: "order.created" },
    ];
    const facts = completed({ checkout: { state: "completed", deadline: undefined, history } });
    expect(verdict(facts, { isTransition: () => true })).toEqual([]);
    expect(verdict(facts, { isTransition: () => false })).toEqual([
      "I5 the table does not lead from created to completed by order.created",
    ]);
  });
});
