import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import type { Outgoing } from "../../nats/contracts/mod.ts";
import { type Deadlines, decide, isEnd, rearm } from "./decide.ts";
import { expire } from "./handlers.ts";
import type { Checkout, Order } from "./messages.ts";
import { type Event, events, type Rule, type State, states, table } from "./table.ts";

const deadlines: Deadlines = {
  reserving: 1_000,
  screening: 2_000,
  in_review: 3_000,
  charging: 4_000,
  fulfilling: 5_000,
  refunding: 6_000,
  releasing: 7_000,
};

const order: Order = create(OrderSchema, {
  orderId: "o1",
  customer: { id: "c1", email: "ada@example.com", plan: "standard" },
  lines: [{ sku: "mug", quantity: 2, unitPriceCents: 1_200n }],
  paymentToken: "tok_visa",
  totalCents: 2_400n,
  currency: "EUR",
  placedAt: timestampFromDate(new Date("2026-01-01T00:00:00Z")),
});
const now = new Date("2026-01-01T00:00:01Z");
const expiresAt = new Date("2026-01-02T00:00:00Z");

function happen(before: Checkout | undefined, event: Event, at = now, limits = deadlines): Outgoing[] {
  const own = event.startsWith("order.") ? { order } : {};
  const review = event === "fraud.order_flagged" ? { expiresAt } : {};
  return decide(before, { event, now: at, ...own, ...review }, limits);
}

function stateOf(messages: readonly Outgoing[]): Checkout | undefined {
  return messages.findLast(({ contract }) => contract.subject === "checkout.state")?.value as
    | Checkout
    | undefined;
}

function timerIn(messages: readonly Outgoing[]): Date | undefined {
  const at = stateOf(messages)?.timerAt;
  return at && timestampDate(at);
}

function deadlineIn(messages: readonly Outgoing[]): Date | undefined {
  const deadline = stateOf(messages)?.deadline;
  return deadline && timestampDate(deadline);
}

function subjects(messages: readonly Outgoing[]): string[] {
  return messages.map(({ subject }) => subject.replace(/^checkout\./, "").replace(/\.o1$/, ""));
}

/** Lets the events happen one after the other. */
function after(...happened: Event[]): Checkout | undefined {
  return happened.reduce<Checkout | undefined>(
    (checkout, event) => stateOf(happen(checkout, event)) ?? checkout,
    undefined,
  );
}

/** The shortest way to each state, by transitions of the table. */
const waysTo: Record<State, Event[]> = (() => {
  const ways: Partial<Record<State, Event[]>> = { created: [] };
  const queue: State[] = ["created"];
  for (const state of queue) {
    for (const event of events) {
      const rule: Rule = table[state][event];
      if (rule.kind !== "go" || ways[rule.to] !== undefined) continue;
      ways[rule.to] = [...(ways[state] ?? []), event];
      queue.push(rule.to);
    }
  }
  return ways as Record<State, Event[]>;
})();

describe.each(states)("decide() in %s", (state) => {
  const before = after(...waysTo[state]);

  it.each(events)("follows the row of %s", (event) => {
    const rule: Rule = table[state][event];
    const passed = event === "checkout.deadline_passed" ? before?.deadline : undefined;
    const messages = happen(before, event, passed && timestampDate(passed));
    const found = subjects(messages);
    // The first one fires before any other deadline of these.
    const timer = state === "created" || passed ? ["timer"] : [];
    const seen = before?.history.some(({ cause }) => cause === event);
    const checkout = stateOf(messages);

    switch (rule.kind) {
      case "ignore":
        expect(messages).toEqual([]);
        break;
      case "defer":
        expect(found).toEqual(["state"]);
        expect(checkout?.state).toBe(state);
        expect(checkout?.deferred.map((deferred) => deferred.event)).toEqual([event]);
        break;
      case "compensate":
        expect(found).toEqual(seen ? [] : ["state", ...rule.send]);
        if (!seen) expect(checkout).toMatchObject({ state, history: before?.history, compensated: [event] });
        break;
      case "repeat":
        expect(found).toEqual(["state", ...rule.send, ...timer]);
        expect(checkout).toMatchObject({ state, history: before?.history });
        break;
      case "go":
        expect(found).toEqual(["state", ...rule.send, ...(isEnd(rule.to) ? [rule.to] : timer)]);
        expect(checkout?.state).toBe(rule.to);
        expect(checkout?.reason).toBe(rule.reason ?? before?.reason ?? "");
        expect(checkout?.history.at(-1)).toMatchObject({ state: rule.to, cause: event });
        expect(checkout?.history.length).toBe((before?.history.length ?? 1) + 1);
        break;
      default:
        rule satisfies never;
    }
  });

  // A deadline is no message that comes twice: its timer names the moment it was set for.
  it.each(events.filter((event) => event !== "checkout.deadline_passed"))(
    "changes nothing when %s comes a second time",
    (event) => {
      const once = stateOf(happen(before, event)) ?? before;
      expect(subjects(happen(once, event))).toEqual([]);
    },
  );
});

describe("decide()", () => {
  it("takes an order to completed", () => {
    const done = after(
      "order.created",
      "inventory.stock_reserved",
      "fraud.order_cleared",
      "payment.captured",
      "fulfillment.shipped",
    );
    expect(done?.history.map(({ state }) => state)).toEqual([
      "created",
      "reserving",
      "screening",
      "charging",
      "fulfilling",
      "completed",
    ]);
    expect(done?.deadline).toBeUndefined();
  });

  it("keeps a screening that is faster than the stock, and lets it take effect in the same decision", () => {
    const waiting = after("order.created", "fraud.order_cleared");
    const messages = happen(waiting, "inventory.stock_reserved");
    expect(subjects(messages)).toEqual(["state", "state", "charge_payment"]);
    expect(stateOf(messages)?.history.slice(-2)).toMatchObject([
      { state: "screening", cause: "inventory.stock_reserved" },
      { state: "charging", cause: "fraud.order_cleared" },
    ]);
    expect(stateOf(messages)?.deferred).toEqual([]);
  });

  it("lets a review take effect that was decided before its flag and the stock came", () => {
    const waiting = after("order.created", "fraud.review_approved", "fraud.order_flagged");
    expect(stateOf(happen(waiting, "inventory.stock_reserved"))?.history.map(({ state }) => state)).toEqual([
      "created",
      "reserving",
      "screening",
      "in_review",
      "charging",
    ]);
  });

  it("gives a review until its expiry and the grace", () => {
    const reviewing = after("order.created", "inventory.stock_reserved", "fraud.order_flagged");
    expect(reviewing?.deadline && timestampDate(reviewing.deadline)).toEqual(
      new Date(expiresAt.getTime() + deadlines.in_review),
    );
  });

  it("sets one timer, for the shortest deadline that there is, and remembers when it fires", () => {
    const messages = happen(undefined, "order.created", now, { ...deadlines, charging: 500 });
    const [timer, ...others] = messages.filter(({ schedule }) => schedule !== undefined);
    const at = new Date(now.getTime() + 500);
    expect(others).toEqual([]);
    expect(timer?.subject).toBe("checkout.timer.o1");
    expect(timer?.value).toMatchObject({ state: "reserving", version: 2, deadline: timestampFromDate(at) });
    expect(timer?.schedule).toEqual({ at, target: "checkout.deadline_passed.o1" });
    expect(timerIn(messages)).toEqual(at);
    expect(deadlineIn(messages)).toEqual(new Date(now.getTime() + deadlines.reserving));
  });

  it("leaves a timer alone that fires before the deadline of the state that is entered", () => {
    const reserving = after("order.created");
    for (const ms of [0, 1, deadlines.reserving - 1]) {
      const at = new Date(now.getTime() + ms);
      const messages = happen(reserving, "inventory.stock_reserved", at);
      expect(subjects(messages)).toEqual(["state"]);
      expect(timerIn(messages)).toEqual(new Date(now.getTime() + deadlines.reserving));
      expect(deadlineIn(messages)).toEqual(new Date(at.getTime() + deadlines.screening));
    }
  });

  it("sets another timer when the one that is set fires too late", () => {
    const charging = { ...deadlines, charging: 10 };
    // It has fired once, and was set for the review's deadline then.
    const reviewing = after("order.created", "inventory.stock_reserved", "fraud.order_flagged");
    const rearmed = stateOf(rearm(reviewing as Checkout));
    const messages = happen(rearmed, "fraud.review_approved", now, charging);
    expect(subjects(messages)).toEqual(["state", "charge_payment", "timer"]);
    expect(timerIn(messages)).toEqual(new Date(now.getTime() + 10));
    expect(deadlineIn(messages)).toEqual(timerIn(messages));
  });

  it("sets another timer when the one that is set has fired, or should have", () => {
    for (const ms of [deadlines.reserving, deadlines.reserving + 1]) {
      const at = new Date(now.getTime() + ms);
      const messages = happen(after("order.created"), "inventory.stock_reserved", at);
      expect(subjects(messages)).toEqual(["state", "timer"]);
      expect(timerIn(messages)).toEqual(new Date(at.getTime() + deadlines.screening));
    }
  });

  it("knows that a checkout of an older version has a timer for its deadline", () => {
    const { timerAt: _, ...old } = after("order.created") as Checkout;
    const messages = happen(old, "inventory.stock_reserved");
    expect(subjects(messages)).toEqual(["state"]);
    expect(timerIn(messages)).toEqual(new Date(now.getTime() + deadlines.reserving));
  });

  it("doubles the wait each time that it asks again, and has a timer for it", () => {
    let fulfilling = after(
      "order.created",
      "inventory.stock_reserved",
      "fraud.order_cleared",
      "payment.captured",
    );
    const waits: number[] = [];
    for (let at = now; waits.length < 4; ) {
      const deadline = fulfilling?.deadline && timestampDate(fulfilling.deadline);
      waits.push((deadline?.getTime() ?? 0) - at.getTime());
      at = deadline ?? at;
      const messages = happen(fulfilling, "checkout.deadline_passed", at);
      expect(subjects(messages)).toEqual(["state", "fulfill_order", "timer"]);
      expect(timerIn(messages)).toEqual(deadlineIn(messages));
      fulfilling = stateOf(messages);
    }
    expect(waits).toEqual([5_000, 5_000, 10_000, 20_000]);
  });

  it("removes the timer in the batch that ends the checkout", () => {
    const fulfilling = after(
      "order.created",
      "inventory.stock_reserved",
      "fraud.order_cleared",
      "payment.captured",
    );
    const messages = happen(fulfilling, "fulfillment.shipped");
    expect(messages.map(({ cancels }) => cancels)).toEqual(["checkout.timer.o1", undefined]);
    expect(stateOf(messages)).toMatchObject({ deadline: undefined, timerAt: undefined });
  });

  it("refunds a capture that arrives after cancellation, once", () => {
    const cancelled = after("order.created", "inventory.stock_rejected");
    const messages = happen(cancelled, "payment.captured");
    expect(subjects(messages)).toEqual(["state", "refund_payment"]);
    expect(happen(stateOf(messages), "payment.captured")).toEqual([]);
  });

  it("releases a reservation that arrives after cancellation", () => {
    const cancelled = after("order.created", "order.cancel_requested", "inventory.stock_released");
    expect(subjects(happen(cancelled, "inventory.stock_reserved"))).toEqual(["state", "release_stock"]);
  });

  it("does not refund twice when a capture of the history is delivered again after cancellation", () => {
    const cancelled = after(
      "order.created",
      "inventory.stock_reserved",
      "fraud.order_cleared",
      "payment.captured",
      "fulfillment.failed",
      "payment.refunded",
      "inventory.stock_released",
    );
    expect(cancelled).toMatchObject({ state: "cancelled", reason: "fulfillment_failed" });
    expect(happen(cancelled, "payment.captured")).toEqual([]);
  });

  it("keeps the first reason", () => {
    const cancelled = after(
      "order.created",
      "inventory.stock_reserved",
      "fraud.order_cleared",
      "order.cancel_requested",
      "payment.captured",
      "payment.refunded",
      "inventory.stock_released",
    );
    expect(cancelled).toMatchObject({ state: "cancelled", reason: "customer_request" });
  });

  it("cancels an order whose cancellation overtook it, and ignores the order when it comes", () => {
    const cancelled = after("order.cancel_requested");
    expect(cancelled).toMatchObject({ state: "cancelled", reason: "customer_request" });
    expect(happen(cancelled, "order.created")).toEqual([]);
  });

  it("begins nothing for an answer to an order that it does not know", () => {
    expect(happen(undefined, "payment.captured")).toEqual([]);
  });
});

describe("expire()", () => {
  const reserving = after("order.created");
  const deadline = new Date(now.getTime() + deadlines.reserving);

  it("moves a checkout on that is past its deadline", () => {
    expect(stateOf(expire(reserving, deadline, deadlines))).toMatchObject({
      state: "releasing",
      reason: "timed_out",
    });
  });

  it("is never early", () => {
    expect(expire(reserving, new Date(deadline.getTime() - 1), deadlines)).toEqual([]);
  });

  it("has nothing to do for an end", () => {
    expect(
      expire(after("order.created", "inventory.stock_rejected"), new Date("2030-01-01"), deadlines),
    ).toEqual([]);
  });
});
