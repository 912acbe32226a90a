import { expect, it } from "vitest";
import { counted } from "./counted.ts";

it("counted() gives a number its noun", () => {
  expect([0, 1, 2, 1n].map((number) => counted(number, "order"))).toEqual([
    "0 orders",
    "1 order",
    "2 orders",
    "1 order",
  ]);
  expect([1, 3].map((number) => counted(number, "entry", "entries"))).toEqual(["1 entry", "3 entries"]);
});
