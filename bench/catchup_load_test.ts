import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { latencyWithin, placeUntil, startSteadyLoad } from "./catchup_load.ts";
import type { OrderRequest } from "./target.ts";

const { signal } = new AbortController();
const done = { acceptedMs: 1, endedMs: 1 };

test("startSteadyLoad() places at its rate, however long orders take, and stop() waits for all of them", async () => {
  const { promise: allArePlaced, resolve } = Promise.withResolvers<void>();
  const orders: OrderRequest[] = [];
  const checkout = async (order: OrderRequest) => {
    orders.push(order);
    if (orders.length === 5) resolve();
    // None ends before the fifth has been placed.
    await allArePlaced;
    return done;
  };
  const load = startSteadyLoad(checkout, { rate: 100, signal });
  await allArePlaced;
  const timed = await load.stop();
  expect(timed.length).toBe(orders.length);
  expect(new Set(orders.map(({ key }) => key)).size).toBe(orders.length);
  const [first] = timed as [(typeof timed)[number]];
  expect(timed.slice(0, 5).map(({ dueAt }) => Math.round(dueAt - first.dueAt))).toEqual([0, 10, 20, 30, 40]);
  expect(timed.every(({ endedAt, error }) => endedAt !== undefined && error === undefined)).toBe(true);
});

test("stop() tells which orders failed, and which did not end in time", async () => {
  const { promise: twoArePlaced, resolve } = Promise.withResolvers<void>();
  let placed = 0;
  const checkout = () => {
    placed += 1;
    if (placed === 1) return Promise.reject(new Error("503"));
    resolve();
    return new Promise<typeof done>(() => undefined);
  };
  const load = startSteadyLoad(checkout, { rate: 100, signal, drainMs: 20 });
  await twoArePlaced;
  const [failed, stuck] = await load.stop();
  expect(failed?.error).toBe("503");
  expect(stuck).toMatchObject({ error: "not ended in time" });
});

test("stop() rejects when the run was given up", async () => {
  const interrupt = new AbortController();
  const load = startSteadyLoad(() => new Promise(() => undefined), { rate: 100, signal: interrupt.signal });
  interrupt.abort(new Error("Ctrl-C"));
  await expect(load.stop()).rejects.toThrow("Ctrl-C");
});

test("latencyWithin() counts from when an order was due, those that were due within the window", () => {
  const orders = [
    { dueAt: 0, endedAt: 900 },
    { dueAt: 10, endedAt: 30 },
    { dueAt: 20, endedAt: 60 },
    { dueAt: 25, error: "503" },
    { dueAt: 30, endedAt: 900 },
  ];
  expect(latencyWithin(orders, { from: 10, to: 30 })).toEqual({ p50: 20, p99: 40, max: 40 });
});

test("placeUntil() places so many at a time until there are enough, and waits for those in flight", async () => {
  let inFlight = 0;
  let most = 0;
  let completed = 0;
  const checkout = async () => {
    inFlight += 1;
    most = Math.max(most, inFlight);
    await sleep(1);
    inFlight -= 1;
    completed += 1;
    return done;
  };
  const found = await placeUntil(async () => completed >= 20, { checkout, inFlight: 4, signal });
  expect([found, inFlight, most]).toEqual([completed, 0, 4]);
  expect(completed).toBeGreaterThanOrEqual(20);
});

test("placeUntil() gives up at the first order that fails", async () => {
  const checkout = () => Promise.reject(new Error("503"));
  await expect(placeUntil(async () => false, { checkout, inFlight: 4, signal })).rejects.toThrow("503");
});
