import { expect, test } from "vitest";
import { number, replaceSection, section, table } from "./report.ts";

const keys = ["checkout", "accept", "growth"];

test("replaceSection() adds sections in the order of the keys, whichever ran first", () => {
  const one = replaceSection("", { key: "growth", text: "## Growth\n\nslow", keys });
  const two = replaceSection(one, { key: "checkout", text: "## Checkout", keys });
  expect(two.indexOf("## Checkout")).toBeLessThan(two.indexOf("## Growth"));
  expect(two).toContain("slow");
  expect(two.startsWith("# Benchmarks\n")).toBe(true);
});

test("replaceSection() replaces its own section and leaves the others as they are", () => {
  const first = replaceSection("", { key: "accept", text: "## Accept\n\n| a |\n| - |", keys });
  const before = replaceSection(first, { key: "checkout", text: "old", keys });
  const after = replaceSection(before, { key: "checkout", text: "new", keys });
  expect(after).toBe(before.replace("old", "new"));
  expect(replaceSection(after, { key: "checkout", text: "new", keys })).toBe(after);
});

test("number() shows three significant digits", () => {
  expect([1234.5, 123.45, 12.345, 1.2345, 0.12345, 0, 0.0004].map(number)).toEqual([
    "1,235",
    "123",
    "12.3",
    "1.23",
    "0.123",
    "0",
    "0.000",
  ]);
  expect([undefined, Number.NaN].map(number)).toEqual(["–", "–"]);
});

test("table() aligns the first column left and figures right", () => {
  const rows = [
    ["what", "n"],
    ["a", "10"],
  ];
  expect(table(rows)).toBe("| what |  n |\n| :--- | -: |\n| a    | 10 |");
});

test("section() tells when, with what and on what, and warns of what went wrong", () => {
  const result = { title: "T", settings: ["10 s"], versions: { shop: "(x 1)" }, body: "figures", data: {} };
  const setting = {
    date: new Date("2026-01-02T03:04:05Z"),
    command: "npm run bench -- t",
    machine: { cores: "2" },
    versions: { node: "v26" },
  };
  const text = section({ ...result, problems: ["3 errors"] }, setting);
  for (const part of ["2026-01-02 03:04 UTC", "`npm run bench -- t`", "- cores: 2", "node v26, shop (x 1)"])
    expect(text).toContain(part);
  expect(text).toContain("Not to be relied upon");
  expect(section({ ...result, problems: [] }, setting)).not.toContain("Not to be relied upon");
});
