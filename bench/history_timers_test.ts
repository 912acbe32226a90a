import { expect, test } from "vitest";
import { timerMs, timersPastMs } from "./history_timers.ts";

test("timerMs() is the shortest deadline that the coordinator has here", () => {
  expect(timerMs()).toBe(30_000);
  expect(timersPastMs()).toBeGreaterThan(timerMs());
});
