import { expect, test } from "vitest";
import { backoff, backoffMs, createChild } from "./child.ts";

test("backoffMs() doubles from a quarter of a second up to ten seconds", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 60].map((failures) => backoffMs(failures, 1))).toEqual([
    250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000,
  ]);
});

test("backoffMs() leaves half of the time to chance", () => {
  expect(backoffMs(2, 0)).toBe(500);
  expect(backoffMs(60, 0)).toBe(backoff.capMs / 2);
});

test("createChild() starts nothing that is hindered, says so once, and starts it when it is not", async () => {
  const reported: string[] = [];
  let asked = 0;
  const child = createChild({
    name: "sleeper",
    command: "sleep",
    args: ["60"],
    env: process.env,
    stdio: "ignore",
    hindrance: () => (asked++ < 2 ? "there is no bed" : undefined),
    waitsFor: async () => undefined,
    // The time that it is kept from being started does not count.
    readyWithinMs: 500,
    report: (line) => reported.push(line),
  });
  try {
    const started = child.start();
    expect(child.pid).toBeUndefined();
    await started;
    expect(child.pid).toBeGreaterThan(0);
    expect(reported).toEqual(["sleeper is not started: there is no bed"]);
  } finally {
    child.close();
  }
});
