import { expect, test } from "vitest";
import { type OpenLoopOptions, runOpenLoop } from "./cascade_load.ts";
import type { Accepted } from "./cascade_side.ts";

const options: OpenLoopOptions = { rate: 100, seconds: 0.1, signal: new AbortController().signal };
const completed = (): Accepted => ({
  ended: Promise.resolve({ at: performance.now(), state: "completed" as const }),
});
const lookAgain = () => Promise.resolve();

test("runOpenLoop() sends at its rate, however slow the answers are", async () => {
  const { promise: allAreSent, resolve } = Promise.withResolvers<void>();
  let inFlight = 0;
  // Nobody is answered before the last one has been sent.
  const place = async () => {
    inFlight += 1;
    if (inFlight === 10) resolve();
    await allAreSent;
    return completed();
  };
  const attempts = await runOpenLoop({ place, lookAgain }, options);
  expect(attempts.map(({ dueMs }) => Math.round(dueMs))).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
  expect(attempts.every(({ state }) => state === "completed")).toBe(true);
});

test("runOpenLoop() tells what was refused, and what was not answered in time", async () => {
  let sent = 0;
  const place = () => {
    sent += 1;
    return sent === 1 ? Promise.reject(new Error("503")) : new Promise<Accepted>(() => undefined);
  };
  const attempts = await runOpenLoop({ place, lookAgain }, { ...options, answerWithinMs: 20 });
  expect(attempts.map(({ accepted }) => accepted)).toEqual(Array(10).fill(false));
  expect(attempts.slice(0, 2).map(({ refusal }) => refusal)).toEqual(["503", "no answer within 0.02 s"]);
});

test("runOpenLoop() asks again for what has not ended, and tells what still has not", async () => {
  const ends: ((ending: Awaited<Accepted["ended"]>) => void)[] = [];
  const place = () => Promise.resolve<Accepted>({ ended: new Promise((resolve) => ends.push(resolve)) });
  const found = async () => ends[0]?.({ at: performance.now(), state: "cancelled" });
  const attempts = await runOpenLoop({ place, lookAgain: found }, { ...options, endWithinMs: 20 });
  expect(attempts.map(({ state }) => state)).toEqual(["cancelled", ...Array(9).fill(undefined)]);
});

test("runOpenLoop() ends when it is told to", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  setTimeout(() => stop.abort(reason), 30);
  const place = () => new Promise<Accepted>(() => undefined);
  await expect(runOpenLoop({ place, lookAgain }, { ...options, signal: stop.signal })).rejects.toBe(reason);
});
