import { describe, expect, it } from "vitest";
import { StartError } from "../tools/start_error.ts";
import { parseMetrics } from "./growth_monitor.ts";
import { ratiosOf } from "./growth_report.ts";
import { parseRss } from "./growth_shop.ts";
import { assertRoom, storeBytes } from "./history_disk.ts";
import type { Level } from "./measure.ts";

const level = (perSecond: number, cpuMs: number): Level => ({
  concurrency: 64,
  perSecond,
  completed: 1_000,
  accept: { p50: 1, p99: 1, max: 1 },
  end: { p50: 1, p99: 1, max: 1 },
  errors: 0,
  firstErrors: [],
  cpuMs: { "nats-server": cpuMs / 2, order: cpuMs / 2 },
  generatorMs: 0,
  probeMs: 1,
});

describe("ratiosOf()", () => {
  it("compares the longest history with the mean of the shortest's two turns", () => {
    const [ratio] = ratiosOf({ first: [level(110, 3)], last: [level(50, 6)], again: [level(90, 5)] });
    expect(ratio).toMatchObject({ concurrency: 64, cpu: 1.5, time: 2 });
    expect(ratio?.cpuAgain).toBeCloseTo(5 / 3);
    expect(ratio?.timeAgain).toBeCloseTo(110 / 90);
  });
});

describe("assertRoom()", () => {
  it("refuses what does not fit on the disk", () => {
    expect(() => assertRoom("/", 1_000_000, storeBytes(1_000_000))).not.toThrow();
    expect(() => assertRoom("/", 1_000_000, 1e9)).toThrow(StartError);
    expect(() => assertRoom("/", 1_000_000, 1e9)).toThrow("25 GB");
  });
});

describe("parseRss()", () => {
  it("reads what the kernel tells", () => {
    expect(parseRss("Name:\tnode\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")).toBe(1_048_576);
    expect(parseRss("")).toBeNaN();
  });
});

describe("parseMetrics()", () => {
  it("gathers the values of one name", () => {
    const metrics = parseMetrics('# HELP a b\na{x="1"} 2\na{x="2 3"} 3\nb 1.5e3\n');
    expect([...metrics]).toEqual([
      ["a", [2, 3]],
      ["b", [1500]],
    ]);
  });
});
