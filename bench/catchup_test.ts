import { expect, test } from "vitest";
import { untilNoLag } from "./catchup.ts";

const { signal } = new AbortController();

test("untilNoLag() ends when each consumer has been without lag, be it at another time", async () => {
  const looks = [
    { ORDER: 5, PAYMENT: 7 },
    { ORDER: 0, PAYMENT: 3 },
    { ORDER: 2, PAYMENT: 1 },
    { ORDER: 1, PAYMENT: 0 },
    { ORDER: 9, PAYMENT: 9 },
  ];
  const lags = async () => new Map(Object.entries(looks.shift() ?? {}));
  const startedAt = performance.now();
  const seconds = await untilNoLag({ lags }, { startedAt, signal });
  expect(looks.length).toBe(1);
  expect(seconds).toBeLessThanOrEqual((performance.now() - startedAt) / 1_000);
});

test("untilNoLag() gives up", async () => {
  const lags = async () => new Map([["ORDER", 1]]);
  const longAgo = performance.now() - 3_600_000;
  expect(await untilNoLag({ lags }, { startedAt: longAgo, signal })).toBeUndefined();
});
