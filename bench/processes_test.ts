import { expect, test } from "vitest";
import { families, parseStat } from "./processes.ts";

test("parseStat() reads past a command with blanks and parentheses", () => {
  const fields = "S 41 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 55 1 1";
  expect(parseStat(`77 (a (strange) name) ${fields}\n`)).toEqual({ pid: 77, parent: 41, cpuMs: 1_240 });
});

test("families() gives each name its descendants, less those that have a name", () => {
  const process = (pid: number, parent: number) => ({ pid, parent, cpuMs: 0 });
  const all = [process(1, 0), process(10, 1), process(11, 10), process(12, 11), process(20, 10)];
  const found = families(
    all,
    new Map([
      ["postgres", 10],
      ["worker", 20],
      ["gone", 99],
    ]),
  );
  const pids = [...found].map(([name, members]) => [name, members.map(({ pid }) => pid)]);
  expect(Object.fromEntries(pids)).toEqual({ postgres: [10, 11, 12], worker: [20], gone: [] });
});
