import { expect, test } from "vitest";
import { exactScale, linearScale, logScale, positionOf } from "./chart_scale.ts";

test("linearScale() ends at a round number above all values", () => {
  expect(linearScale([3, 51, 50])).toMatchObject({ from: 0, to: 60, ticks: [0, 20, 40, 60] });
  expect(linearScale([1_500])).toMatchObject({ to: 2_000, ticks: [0, 500, 1_000, 1_500, 2_000] });
  expect(linearScale([])).toMatchObject({ from: 0, to: 1 });
});

test("exactScale() ends where it is told to, with ticks at round numbers", () => {
  expect(exactScale(67)).toMatchObject({ to: 67, ticks: [0, 10, 20, 30, 40, 50, 60] });
});

test("logScale() goes from power of ten to power of ten", () => {
  expect(logScale([4, 5_300])).toMatchObject({ from: 1, to: 10_000, ticks: [1, 10, 100, 1_000, 10_000] });
  expect(logScale([10])).toMatchObject({ from: 10, to: 100 });
  expect(logScale([0, -1])).toMatchObject({ from: 1, to: 10 });
});

test("positionOf() puts values along the axis, and those beyond it at its ends", () => {
  expect(positionOf(30, exactScale(60))).toBe(0.5);
  expect(positionOf(100, logScale([1, 10_000]))).toBeCloseTo(0.5);
  expect(positionOf(0, logScale([1, 10_000]))).toBe(0);
  expect(positionOf(99, exactScale(60))).toBe(1);
});
