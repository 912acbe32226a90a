import { expect, test } from "vitest";
import { latencyOf, median, medianOf, quantile } from "./stats.ts";

test("quantile() is the smallest value that so many do not exceed", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
  expect([0.5, 0.99, 0.999, 1].map((share) => quantile(hundred, share))).toEqual([50, 99, 100, 100]);
  expect(quantile([7], 0.01)).toBe(7);
  expect(quantile([], 0.5)).toBeNaN();
});

test("latencyOf() takes samples in any order and leaves them in it", () => {
  const samples = [30, 4, 200];
  expect(latencyOf(samples)).toEqual({ p50: 30, p99: 200, max: 200 });
  expect(samples).toEqual([30, 4, 200]);
});

test("median() of an even number is between the two in the middle", () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([1, 9, 5, 3])).toBe(4);
  expect(median([])).toBeNaN();
});

test("medianOf() goes through what runs have in common, number by number", () => {
  const run = (perSecond: number, messages?: number) => ({
    name: "shop",
    levels: [{ perSecond, end: { p50: perSecond / 2 }, ...(messages !== undefined && { messages }) }],
  });
  expect(medianOf([run(2, 10), run(10, 30), run(4, 20)])).toEqual(run(4, 20));
  expect(medianOf([run(2), run(10, 30), run(4)])).toEqual(run(4));
  expect(medianOf([run(2)])).toEqual(run(2));
});
