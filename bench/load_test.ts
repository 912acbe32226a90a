import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { runLoad } from "./load.ts";
import type { OrderRequest } from "./target.ts";

const never = new AbortController().signal;
const quick = { seconds: 0.2, warmupSeconds: 0.05, signal: never, sample: () => 0 };

test("runLoad() keeps so many orders in flight, with keys of their own, over all skus", async () => {
  const orders: OrderRequest[] = [];
  let inFlight = 0;
  let most = 0;
  const checkout = async (order: OrderRequest) => {
    orders.push(order);
    inFlight += 1;
    most = Math.max(most, inFlight);
    await sleep(5);
    inFlight -= 1;
    return { acceptedMs: 1, endedMs: 5 };
  };
  const result = await runLoad(checkout, { ...quick, concurrency: 8, skus: ["a", "b"] });
  expect(most).toBe(8);
  expect(new Set(orders.map(({ key }) => key)).size).toBe(orders.length);
  expect(new Set(orders.map(({ sku }) => sku))).toEqual(new Set(["a", "b"]));
  expect(result).toMatchObject({ concurrency: 8, errors: 0, accept: { p50: 1 }, end: { p50: 5, max: 5 } });
  expect(result.completed).toBeGreaterThan(0);
  expect(result.completed).toBeLessThan(orders.length);
  expect(inFlight).toBe(0);
});

test("runLoad() samples when the window opens and when it closes", async () => {
  let samples = 0;
  const checkout = async () => {
    await sleep(1);
    return { acceptedMs: 1, endedMs: 1 };
  };
  const sample = () => {
    samples += 1;
    return samples;
  };
  const { opened, closed } = await runLoad(checkout, { ...quick, concurrency: 1, sample });
  expect([opened, closed]).toEqual([1, 2]);
});

test("runLoad() counts failures, names different ones, and gives up on a target that only fails", async () => {
  let calls = 0;
  const result = await runLoad(
    async () => {
      calls += 1;
      throw new Error(calls % 2 === 0 ? "out of stock" : "refused");
    },
    { ...quick, concurrency: 2 },
  );
  expect(result).toMatchObject({ completed: 0, firstErrors: ["refused", "out of stock"] });
  expect(result.errors).toBeLessThan(1_010);
});

test("runLoad() counts orders that do not end", async () => {
  const stuck = () => new Promise<never>(() => undefined);
  const result = await runLoad(stuck, { ...quick, concurrency: 3, drainSeconds: 0.05 });
  expect(result).toMatchObject({ completed: 0, errors: 3 });
  expect(result.firstErrors[0]).toContain("not ended");
});

test("runLoad() ends at once when its signal aborts", async () => {
  const stop = new AbortController();
  const checkout = async () => {
    await sleep(1);
    return { acceptedMs: 1, endedMs: 1 };
  };
  const running = runLoad(checkout, { ...quick, concurrency: 1, seconds: 60, signal: stop.signal });
  stop.abort(new Error("Ctrl-C"));
  await expect(running).rejects.toThrow("Ctrl-C");
});
