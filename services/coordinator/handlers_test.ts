import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { DeadlinePassedSchema } from "../../gen/shop/checkout/v1/deadline_passed_pb.ts";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import { checkoutState, checkoutTimer, message } from "../../nats/contracts/mod.ts";
import {
  type AnyHandler,
  applyTopology,
  commit,
  newHeaders,
  type Outcome,
  orderCreated,
  subjectOf,
} from "../../nats/mod.ts";
import { firstDelivery, MemoryView, startNats, until } from "../../test/support/mod.ts";
import { afterCatchUp, catchUp } from "./catch_up.ts";
import { type Deadlines, decide } from "./decide.ts";
import { handlers, timer } from "./handlers.ts";
import { type Event, events } from "./table.ts";

const deadlines: Deadlines = {
  reserving: 1_000,
  screening: 1_000,
  in_review: 1_000,
  charging: 1_000,
  fulfilling: 1_000,
  refunding: 1_000,
  releasing: 1_000,
};
const begun = new Date("2026-01-01T00:00:00Z");
const after = (ms: number) => new Date(begun.getTime() + ms);
const order = create(OrderSchema, { orderId: "o1", placedAt: timestampFromDate(begun) });

/** A ledger with a checkout to which these events have happened, the first of them at `begun`, each 100 ms later. */
function ledgerAfter(...happened: Event[]): MemoryView {
  const view = new MemoryView();
  for (const [index, event] of happened.entries()) {
    const checkout = view.get(checkoutState, "o1") as Parameters<typeof decide>[0];
    view.store(decide(checkout, { event, now: after(index * 100), order }, deadlines));
  }
  view.log.length = 0;
  return view;
}

/** The message that fires from the timer that `view` holds. */
function fired(view: MemoryView) {
  const set = view.get(checkoutTimer, "o1");
  if (set === undefined) throw new Error("No timer is set");
  return create(DeadlinePassedSchema, set);
}

describe("handlers()", () => {
  it("has one for each event of the table", () => {
    expect(
      handlers(deadlines)
        .map(({ contract }) => contract.subject)
        .toSorted(),
    ).toEqual([...events].toSorted());
  });
});

describe("timer()", () => {
  const handler: AnyHandler = timer(deadlines);

  it("moves a checkout on once its deadline has passed, to the millisecond", () => {
    const view = ledgerAfter("order.created");
    const { outcome, subjects } = view.handle(handler, fired(view), { now: after(1_000) });
    expect(outcome.kind).toBe("done");
    expect(subjects).toEqual([
      "checkout.state.o1",
      "checkout.release_stock.o1",
      "checkout.close_review.o1",
      "checkout.timer.o1",
    ]);
    expect(view.get(checkoutState, "o1")).toMatchObject({ state: "releasing", reason: "timed_out" });
  });

  it("comes back at the deadline when the server's clock is ahead", () => {
    const view = ledgerAfter("order.created");
    expect(view.handle(handler, fired(view), { now: after(999) }).outcome).toEqual({
      kind: "retry",
      delayMs: 1,
      reason: expect.any(String),
    });
    expect(view.handle(handler, fired(view), { now: after(0) }).outcome).toMatchObject({ delayMs: 1_000 });
  });

  it("sets the next timer when the checkout has moved on, and has time left", () => {
    // The deadline is at 1,100.
    const view = ledgerAfter("order.created", "inventory.stock_reserved");
    const first = fired(view);
    expect(first.deadline && timestampMs(first.deadline)).toBe(after(1_000).getTime());
    const before = view.get(checkoutState, "o1");
    // Whichever clock is ahead.
    for (const ms of [900, 1_000, 1_099]) {
      const again = ledgerAfter("order.created", "inventory.stock_reserved");
      const { outcome, subjects } = again.handle(handler, first, { now: after(ms) });
      expect(outcome.kind).toBe("done");
      expect(subjects).toEqual(["checkout.state.o1", "checkout.timer.o1"]);
      expect(again.get(checkoutState, "o1")).toEqual({ ...before, timerAt: before?.deadline });
      expect(fired(again).deadline).toEqual(before?.deadline);
    }
    expect(view.handle(handler, first, { now: after(1_100) }).subjects).toContain(
      "checkout.release_stock.o1",
    );
  });

  it("sets the next timer once, however often it is delivered", () => {
    const view = ledgerAfter("order.created", "inventory.stock_reserved");
    const first = fired(view);
    view.handle(handler, first, { now: after(1_000) });
    for (const ms of [1_000, 1_099, 1_100, 9_000]) {
      expect(view.handle(handler, first, { now: after(ms) }).subjects).toEqual([]);
    }
    // What it has set is the one that counts.
    expect(view.handle(handler, fired(view), { now: after(1_100) }).subjects).toContain(
      "checkout.release_stock.o1",
    );
  });

  it("sets one timer for a deadline that is far away, and the end removes it", () => {
    const view = ledgerAfter("order.created", "inventory.stock_reserved");
    const reviewing = view.get(checkoutState, "o1") as Parameters<typeof decide>[0];
    const expiresAt = after(1_000_000);
    view.store(decide(reviewing, { event: "fraud.order_flagged", now: after(200), expiresAt }, deadlines));
    expect(view.handle(handler, fired(view), { now: after(1_000) }).subjects).toHaveLength(2);
    const second = fired(view);
    expect(second.deadline && timestampMs(second.deadline)).toBe(after(1_001_000).getTime());
    expect(view.handle(handler, second, { now: after(1_001_000) }).subjects).toContain(
      "checkout.close_review.o1",
    );
  });

  it("is of no meaning when another timer was set since", () => {
    const late = fired(ledgerAfter("order.created"));
    // A transition after the timer, which is therefore taken for fired.
    const moved = ledgerAfter("order.created");
    const checkout = moved.get(checkoutState, "o1") as Parameters<typeof decide>[0];
    moved.store(decide(checkout, { event: "inventory.stock_reserved", now: after(1_000) }, deadlines));
    expect(moved.handle(handler, late, { now: after(9_000) })).toEqual({
      outcome: { kind: "done", messages: [] },
      subjects: [],
    });
  });

  it("stands in for one that was set for earlier: that has fired as well", () => {
    const view = ledgerAfter("order.created", "inventory.stock_reserved");
    const early = fired(view);
    const later = { ...early, deadline: timestampFromDate(after(1_050)) };
    expect(view.handle(handler, later, { now: after(1_060) }).subjects).toEqual([
      "checkout.state.o1",
      "checkout.timer.o1",
    ]);
    expect(view.handle(handler, early, { now: after(1_070) }).subjects).toEqual([]);
    // Its own message for a deadline that has not passed by this clock waits, and sets nothing.
    const last = { ...early, deadline: timestampFromDate(after(1_200)) };
    expect(view.handle(handler, last, { now: after(1_090) })).toEqual({
      outcome: { kind: "retry", delayMs: 10, reason: expect.any(String) },
      subjects: [],
    });
  });

  it("knows the timer of a checkout of an older version", () => {
    const view = ledgerAfter("order.created", "inventory.stock_reserved");
    const { timerAt: _, ...old } = view.get(checkoutState, "o1") as Parameters<typeof message>[2] & object;
    view.store([message(checkoutState, "o1", old)]);
    const timer = { ...fired(view), deadline: timestampFromDate(after(1_100)) };
    expect(view.handle(handler, timer, { now: after(1_099) }).outcome).toMatchObject({
      kind: "retry",
      delayMs: 1,
    });
    expect(view.handle(handler, fired(view), { now: after(9_000) }).subjects).toEqual([]);
    expect(view.handle(handler, timer, { now: after(1_100) }).subjects).toContain(
      "checkout.release_stock.o1",
    );
  });

  it("is of no meaning when the state is the same and has another deadline", () => {
    const view = ledgerAfter("order.created", "order.cancel_requested");
    const first = fired(view);
    expect(view.handle(handler, first, { now: after(1_100) }).subjects).toContain(
      "checkout.release_stock.o1",
    );
    const second = fired(view);
    expect(second.deadline && timestampMs(second.deadline)).toBeGreaterThan(after(1_100).getTime());
    // The same one delivered again.
    expect(view.handle(handler, first, { now: after(9_000) }).subjects).toEqual([]);
    expect(view.handle(handler, second, { now: after(9_000) }).subjects).toContain(
      "checkout.release_stock.o1",
    );
  });

  it("is of no meaning for an order that has ended, and for one that nobody knows", () => {
    const early = fired(ledgerAfter("order.created"));
    const ended = ledgerAfter("order.created", "inventory.stock_rejected");
    expect(ended.get(checkoutState, "o1")).toMatchObject({ state: "cancelled" });
    expect(ended.handle(handler, early, { now: after(9_000) }).subjects).toEqual([]);
    expect(new MemoryView().handle(handler, early, { now: after(9_000) }).subjects).toEqual([]);
  });
});

describe("afterCatchUp()", () => {
  /** Decides, performs and concludes as a processor does. `meanwhile` is what catching up makes of the checkout. */
  async function run(view: MemoryView, now: Date, meanwhile: () => void = () => undefined) {
    let waited = 0;
    const handler: AnyHandler = afterCatchUp(timer(deadlines), async () => {
      waited += 1;
      meanwhile();
    });
    const message = fired(view);
    const { outcome } = view.handle(handler, message, { now });
    if (outcome.kind !== "perform") return { waited, outcome };
    const result = await handler.perform?.(outcome.effect, {
      signal: new AbortController().signal,
      attempt: 1,
    });
    const concluded = handler.conclude?.(view, message, result, { ...firstDelivery, now });
    return { waited, outcome: concluded as Outcome };
  }

  it("waits for the answers from before a timer that is due, and then decides", async () => {
    const view = ledgerAfter("order.created");
    const { waited, outcome } = await run(view, after(1_000));
    expect(waited).toBe(1);
    expect(outcome).toMatchObject({
      kind: "done",
      messages: [{ value: { state: "releasing", reason: "timed_out" } }, {}, {}, {}],
    });
  });

  it("does nothing when one of the answers has moved the checkout on", async () => {
    const view = ledgerAfter("order.created");
    const { waited, outcome } = await run(view, after(1_000), () => {
      const checkout = view.get(checkoutState, "o1") as Parameters<typeof decide>[0];
      view.store(decide(checkout, { event: "inventory.stock_reserved", now: after(1_000) }, deadlines));
    });
    expect(waited).toBe(1);
    expect(outcome).toEqual({ kind: "done", messages: [] });
  });

  it("sets the next timer without waiting", async () => {
    const view = ledgerAfter("order.created", "inventory.stock_reserved");
    expect(await run(view, after(1_000))).toMatchObject({ waited: 0, outcome: { kind: "done" } });
    expect(view.get(checkoutState, "o1")).toMatchObject({ state: "screening" });
  });

  it("waits for nothing when nothing is due", async () => {
    expect(await run(ledgerAfter("order.created"), after(999))).toMatchObject({
      waited: 0,
      outcome: { kind: "retry" },
    });
  });
});

describe("catchUp()", () => {
  it("resolves when what was stored before the call is acknowledged, and does not wait for what came later", async () => {
    await using nats = await startNats();
    await applyTopology({ servers: nats.url });
    const { connection, js, jsm } = await nats.connect();
    const tell = async (id: string) => {
      const entry = { subject: subjectOf(orderCreated, id), data: new Uint8Array(), headers: newHeaders() };
      expect(await commit(connection, "ORDER", [entry])).toMatchObject({ kind: "committed" });
    };
    const caughtUp = catchUp(jsm, [{ stream: "ORDER", name: "coordinator" }]);
    const { signal } = new AbortController();
    await caughtUp(signal);

    const pending = async () => (await jsm.consumers.info("ORDER", "coordinator")).num_pending;
    await tell("o1");
    await tell("o2");
    await until("them to be pending", async () => (await pending()) === 2);
    let done = false;
    const waiting = caughtUp(signal).then(() => {
      done = true;
    });
    const consumer = await js.consumers.get("ORDER", "coordinator");
    const messages = await consumer.fetch({ max_messages: 2, expires: 5_000 });
    let handled = 0;
    for await (const msg of messages) {
      expect(done).toBe(false);
      await msg.ackAck();
      // What it does not wait for, or it would wait until this test is over.
      handled += 1;
      if (handled === 1) await tell("o3");
    }
    await waiting;
    expect(handled).toBe(2);
    await until("the third to be pending", async () => (await pending()) === 1);
  });

  it("checks again after a check that failed", async () => {
    await using nats = await startNats();
    await applyTopology({ servers: nats.url });
    const { jsm } = await nats.connect();
    const caughtUp = catchUp(jsm, [{ stream: "ORDER", name: "coordinator" }]);
    const { signal } = new AbortController();
    await jsm.consumers.delete("ORDER", "coordinator");
    await expect(caughtUp(signal)).rejects.toThrow();
    await applyTopology({ servers: nats.url });
    await caughtUp(signal);
  });
});
