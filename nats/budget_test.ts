import { describe, expect, it } from "vitest";
import { Budget } from "./budget.ts";

describe("Budget", () => {
  it("gives what is wanted as long as there is room in its second, and the next moments after that", () => {
    const budget = new Budget(2);
    const taken = Array.from({ length: 5 }, () => budget.take(10_400));
    expect(taken).toEqual([10_400, 10_400, 11_000, 11_500, 12_000]);
    expect(budget.take(12_700)).toBe(12_700);
    expect(budget.take(10_000)).toBe(13_000);
  });

  it("keeps to it for any number, in any order, and quickly", () => {
    const budget = new Budget(50);
    const counts = new Map<number, number>();
    for (let n = 0; n < 100_000; n++) {
      const second = Math.floor(budget.take(((n * 7_919) % 60_000) + 5_000_000_000_000) / 1_000);
      counts.set(second, (counts.get(second) ?? 0) + 1);
    }
    expect(Math.max(...counts.values())).toBe(50);
    expect(counts.size).toBe(2_000);
  });
});
