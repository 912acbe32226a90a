import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  item,
  orderCancelRequested,
  orderFlagged,
  paymentCaptured,
  paymentDeclined,
  paymentRefunded,
  paymentVoided,
  reservation,
  reviewApproved,
} from "../../nats/mod.ts";
import { databases, type TestDatabase } from "../../test/support/databases.ts";
import { Store } from "./store.ts";
import { anOrder, apply, batchOf, noon, placed, said, standing } from "./test_support.ts";

const never = new AbortController().signal;

describe.each(databases)("a store in %s", (_, open) => {
  let test: TestDatabase;
  let store: Store;
  beforeAll(async () => {
    test = await open();
  });
  afterAll(() => test[Symbol.asyncDispose]());
  beforeEach(async () => {
    await test.empty();
    store = new Store(test.database);
    await store.open(never);
  });

  it("begins at 0 and goes on where it was, also when it is opened again", async () => {
    expect([...(await store.open(never)).values()].every((position) => position === 0)).toBe(true);
    await apply(store, batchOf([placed("o1", { seq: 7 })]));
    const again = await new Store(test.database).open(never);
    expect(again.get("ORDER")).toBe(7);
    expect(again.get("PAYMENT")).toBe(0);
  });

  it("stores rows and positions, or neither: a batch that was read from another position is refused", async () => {
    await apply(store, batchOf([placed("o1", { seq: 1 })]));
    const late = batchOf([placed("o2", { seq: 2 }), standing("o2", ["created", "reserving"], { seq: 1 })]);
    await expect(apply(store, late)).rejects.toMatchObject({ code: "40001" });
    expect(await test.db.selectFrom("orders").select("order_id").execute()).toEqual([{ order_id: "o1" }]);
    expect(await test.db.selectFrom("transitions").selectAll().execute()).toEqual([]);
    expect((await store.positions()).get("CHECKOUT")).toBe(0);
    await apply(store, { ...late, advance: new Map([...late.advance, ["ORDER", { from: 1, to: 2 }]]) });
    expect((await store.positions()).get("ORDER")).toBe(2);
  });

  it("refuses to go back", async () => {
    await apply(store, batchOf([placed("o1", { seq: 5 })]));
    const back = batchOf([placed("o2", { seq: 3 })], { from: { ORDER: 5 } });
    await expect(apply(store, back)).rejects.toMatchObject({ code: "40001" });
  });

  it("refuses the same batch a second time, and money counts once", async () => {
    const batch = batchOf([
      said(
        paymentCaptured,
        "o1",
        { orderId: "o1", captureId: "c1", amountCents: 500n, currency: "EUR" },
        { seq: 3 },
      ),
    ]);
    await apply(store, batch);
    await expect(apply(store, batch)).rejects.toMatchObject({ code: "40001" });
    expect(await test.db.selectFrom("revenue_daily").selectAll().execute()).toEqual([
      { day: "2026-01-31", currency: "EUR", captures: 1, captured_cents: 500, refunds: 0, refunded_cents: 0 },
    ]);
  });

  it("takes an order from whichever stream says it first, and its state from the newest snapshot", async () => {
    await apply(store, batchOf([standing("o1", ["created", "reserving"], { seq: 1 })]));
    await apply(store, batchOf([placed("o1", { seq: 1 })]));
    const steps = ["created", "reserving", "screening", "charging"];
    await apply(
      store,
      batchOf([standing("o1", steps.slice(0, 3), { seq: 2 }), standing("o1", steps, { seq: 3 })], {
        from: { CHECKOUT: 1 },
      }),
    );
    const [order] = await test.db.selectFrom("orders").selectAll().execute();
    expect(order).toMatchObject({ state: "charging", version: 4, total_cents: 2_400, placed_at: noon });
    expect(order?.state_since).toEqual(new Date(noon.getTime() + 3_000));
    expect(await test.db.selectFrom("order_lines").select(["sku", "quantity"]).execute()).toEqual([
      { sku: "mug", quantity: 2 },
    ]);
  });

  it("takes from a snapshot what those before it have said, which it may stand for", async () => {
    const steps = ["created", "reserving", "screening", "charging", "fulfilling", "completed"];
    await apply(store, batchOf([standing("o1", steps.slice(0, 3), { seq: 2 })]));
    await apply(store, batchOf([standing("o1", steps, { seq: 5 })], { from: { CHECKOUT: 2 } }));
    const transitions = await test.db.selectFrom("transitions").selectAll().orderBy("n").execute();
    expect(transitions.map(({ n, state }) => [n, state])).toEqual([...steps.entries()]);
    const [order] = await test.db.selectFrom("orders").selectAll().execute();
    expect(order).toMatchObject({ state: "completed", version: 6 });
    expect(order?.ended_at).toEqual(new Date(noon.getTime() + 5_000));
  });

  it("keeps every transition once, and counts it in the funnel and the time in its state", async () => {
    const steps = ["created", "reserving", "screening", "charging"];
    await apply(
      store,
      batchOf([
        standing("o1", steps.slice(0, 2), { seq: 1 }),
        // What was deferred is remembered by a snapshot with the same history.
        standing("o1", steps.slice(0, 2), { seq: 2 }),
        standing("o1", steps.slice(0, 3), { seq: 3 }),
      ]),
    );
    await apply(
      store,
      batchOf([standing("o1", steps.slice(0, 3), { seq: 4 }), standing("o1", steps, { seq: 5 })], {
        from: { CHECKOUT: 3 },
      }),
    );
    const transitions = await test.db.selectFrom("transitions").selectAll().orderBy("n").execute();
    expect(transitions.map(({ n, state }) => [n, state])).toEqual([...steps.entries()]);
    const funnel = await test.db.selectFrom("funnel_daily").selectAll().execute();
    expect(Object.fromEntries(funnel.map(({ state, orders }) => [state, orders]))).toEqual(
      Object.fromEntries(steps.map((state) => [state, 1])),
    );
    const times = await test.db.selectFrom("time_in_state_daily").selectAll().orderBy("state").execute();
    expect(times.map(({ state, visits, total_ms }) => [state, visits, total_ms])).toEqual([
      ["created", 1, 1_000],
      ["reserving", 1, 1_000],
      ["screening", 1, 1_000],
    ]);
  });

  it("does not lose a wish to cancel that comes before or after anything else", async () => {
    const wish = said(orderCancelRequested, "o1", { order: anOrder("o1") }, { seq: 2, afterMs: 500 });
    await apply(store, batchOf([placed("o1", { seq: 1 }), wish]));
    await apply(store, batchOf([standing("o1", ["created", "reserving"], { seq: 1 })]));
    const [order] = await test.db.selectFrom("orders").selectAll().execute();
    expect(order).toMatchObject({ state: "reserving", cancel_requested_at: new Date(noon.getTime() + 500) });
  });

  it("has one row for the payment of an order, whichever of its events come together", async () => {
    const declined = said(paymentDeclined, "o1", { orderId: "o1", declineCode: "broke" }, { seq: 1 });
    const voided = said(paymentVoided, "o1", { orderId: "o1" }, { seq: 2 });
    await apply(store, batchOf([declined, voided]));
    expect(await test.db.selectFrom("payments").selectAll().execute()).toMatchObject([
      { status: "voided", decline_code: "broke", captured_at: null, declined_at: noon, voided_at: noon },
    ]);
    const money = { orderId: "o2", amountCents: 500n, currency: "EUR" };
    await apply(
      store,
      batchOf([said(paymentCaptured, "o2", { ...money, captureId: "c" }, { seq: 3 })], {
        from: { PAYMENT: 2 },
      }),
    );
    await apply(
      store,
      batchOf([said(paymentRefunded, "o2", { ...money, refundId: "r" }, { seq: 4 })], {
        from: { PAYMENT: 3 },
      }),
    );
    expect(await test.db.selectFrom("revenue_daily").selectAll().execute()).toMatchObject([
      { captured_cents: 500, refunded_cents: 500, captures: 1, refunds: 1 },
    ]);
    expect(await test.db.selectFrom("refunds").selectAll().execute()).toMatchObject([
      { order_id: "o2", refund_id: "r" },
    ]);
  });

  it.each([
    ["in one batch", [3]],
    ["in two batches", [1, 3]],
  ])("gives back what an order has reserved, though the release does not say what: %s", async (__, ends) => {
    const held = { orderId: "o1", status: "reserved", lines: [{ sku: "mug", quantity: 2 }] };
    const messages = [
      said(reservation, "o1", held, { seq: 1 }),
      said(reservation, "o1", { orderId: "o1", status: "released" }, { seq: 3 }),
    ];
    let from = 0;
    for (const to of ends) {
      const part = messages.filter(({ seq }) => seq > from && seq <= to);
      await apply(store, batchOf(part, { from: { INVENTORY: from } }));
      from = to;
    }
    const moved = await test.db.selectFrom("stock_movements").selectAll().orderBy("seq").execute();
    expect(moved.map(({ seq, sku, kind, quantity }) => [seq, sku, kind, quantity])).toEqual([
      [1, "mug", "reserved", 2],
      [3, "mug", "released", 2],
    ]);
  });

  it.each([
    ["in one batch", [4]],
    ["in four", [1, 2, 3, 4]],
  ])("takes for adjusted what neither came nor went by an order: %s", async (__, ends) => {
    const stock = (available: bigint, reserved: bigint, sold: bigint, seq: number) =>
      said(
        item,
        "mug",
        { sku: "mug", available, reserved, sold, unitPriceCents: 1n, currency: "EUR" },
        { seq },
      );
    const messages = [
      stock(100n, 0n, 0n, 1),
      stock(98n, 2n, 0n, 2),
      stock(98n, 1n, 1n, 3),
      stock(50n, 1n, 1n, 4),
    ];
    let from = 0;
    for (const to of ends) {
      const part = messages.filter(({ seq }) => seq > from && seq <= to);
      await apply(store, batchOf(part, { from: { INVENTORY: from } }));
      from = to;
    }
    const moved = await test.db.selectFrom("stock_movements").selectAll().orderBy("seq").execute();
    expect(moved.map(({ seq, kind, quantity }) => [seq, kind, quantity])).toEqual([
      [1, "adjusted", 100],
      [4, "adjusted", -48],
    ]);
    expect(await test.db.selectFrom("stock").select(["available", "reserved", "sold"]).execute()).toEqual([
      { available: 50, reserved: 1, sold: 1 },
    ]);
  });

  it("keeps what was said of a screening when it is decided", async () => {
    await apply(store, batchOf([said(orderFlagged, "o1", { orderId: "o1", rules: ["a", "b"] }, { seq: 1 })]));
    const approved = said(reviewApproved, "o1", { orderId: "o1", reviewer: "eve" }, { seq: 2 });
    await apply(store, batchOf([approved], { from: { FRAUD: 1 } }));
    expect(await test.db.selectFrom("screenings").selectAll().execute()).toMatchObject([
      { outcome: "approved", rules: ["a", "b"], reviewer: "eve", screened_at: noon, decided_at: noon },
    ]);
  });

  it("counts a redriven message if it was left out, once, and lets it change nothing that is newer", async () => {
    const steps = ["created", "reserving", "screening"];
    await apply(
      store,
      batchOf([standing("o1", steps, { seq: 3 })], { parked: [{ stream: "CHECKOUT", seq: 2 }] }),
    );
    const letter = { ...standing("o1", steps.slice(0, 2), { seq: 2, redriven: true }) };
    const redrive = (from: number, to: number) => ({
      messages: [letter],
      parked: [],
      advance: new Map([["DEAD_LETTER", { from, to }]]),
    });
    await apply(store, redrive(0, 5));
    await apply(store, redrive(5, 6));
    const [order] = await test.db.selectFrom("orders").selectAll().execute();
    expect(order).toMatchObject({ state: "screening", version: 3 });
    const funnel = await test.db.selectFrom("funnel_daily").select(["state", "orders"]).execute();
    expect(new Map(funnel.map(({ state, orders }) => [state, orders]))).toEqual(
      new Map(steps.map((state) => [state, 1])),
    );
    expect(await test.db.selectFrom("parked").selectAll().execute()).toEqual([]);
  });
});
