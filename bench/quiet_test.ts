import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { disturbances, parseBusyMs, probeDisk } from "./quiet.ts";

test("parseBusyMs() is the time in which no core was idle or waited for the disk", () => {
  expect(parseBusyMs("cpu  100 20 3 5000 400 5 6 7 80 9\ncpu0 1 2 3\n")).toBe(1_410);
});

test("probeDisk() takes some time and leaves nothing", () => {
  expect(probeDisk(tmpdir())).toBeGreaterThan(0);
});

test("disturbances() names what had to share the CPU, or had a slower disk than the others", () => {
  const found = disturbances([
    { what: "shop, 1", foreign: 0.05, probeMs: 0.2 },
    { what: "shop, 16", foreign: 0.5, probeMs: 0.3 },
    { what: "dbos, 1", foreign: undefined, probeMs: 1 },
  ]);
  expect(found).toEqual([
    "shop, 16: 50% of the CPU went to other programs",
    "dbos, 1: the disk took 1.00 ms for a sync, at its best 0.20 ms",
  ]);
  expect(disturbances([])).toEqual([]);
});
