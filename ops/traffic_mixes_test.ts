import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { orderKinds } from "../tools/order_kinds.ts";
import { mixes, ordersOf } from "./traffic_mixes.ts";

/** The first orders of the default mix. */
function first(count: number) {
  const orders = ordersOf(mixes.default);
  return Array.from({ length: count }, () => orders.next().value);
}

describe("the default mix", () => {
  it("has every kind of order, and one of each comes first", () => {
    expect(new Set(first(Object.keys(orderKinds).length))).toEqual(new Set(Object.values(orderKinds)));
  });

  it("has every ending of the README's table", async () => {
    const page = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const [, table = ""] =
      /\| field \| value \| the order ends as \|\n\|[-|]+\|\n([\s\S]*?)\n\n/.exec(page) ?? [];
    const values = [...table.matchAll(/^\|[^|]*\|([^|]*)\|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, value = ""]) => value),
    );
    expect(values.length).toBeGreaterThan(7);
    const sent = JSON.stringify(Object.values(orderKinds).map(({ changes }) => changes));
    // What the example order has already.
    for (const value of values.filter((value) => value !== "tok_visa")) expect(sent).toContain(`"${value}"`);
  });

  it("has each kind as often as its weight says, and is the same each time", () => {
    const kinds = Object.keys(mixes.default).length;
    const round = first(kinds + 100).slice(kinds);
    for (const [name, weight] of Object.entries(mixes.default)) {
      const kind = orderKinds[name as keyof typeof orderKinds];
      expect([name, round.filter((it) => it === kind).length]).toEqual([name, weight]);
    }
    expect(first(50)).toEqual(first(50));
  });
});
