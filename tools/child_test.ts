import { expect, test } from "vitest";
import { backoff, backoffMs } from "./child.ts";

test("backoffMs() doubles from a quarter of a second up to ten seconds", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 60].map((failures) => backoffMs(failures, 1))).toEqual([
    250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000,
  ]);
});

test("backoffMs() leaves half of the time to chance", () => {
  expect(backoffMs(2, 0)).toBe(500);
  expect(backoffMs(60, 0)).toBe(backoff.capMs / 2);
});
