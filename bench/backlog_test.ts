import { expect, test } from "vitest";
import { topology } from "../nats/mod.ts";
import { leftBehindProblems, workedOff, workingConsumers } from "./backlog.ts";

const { signal } = new AbortController();

test("workingConsumers() are all that an order gives work to, mails included", () => {
  const consumers = workingConsumers().map(({ stream, service }) => `${stream}/${service}`);
  expect(consumers).toContain("CHECKOUT/notification");
  expect(consumers).not.toContain("DEAD_LETTER/notification");
  expect(consumers.filter((name) => name.endsWith("/analytics"))).toEqual([]);
  const others = topology.consumers.filter(
    ({ deadLetters, service }) => !deadLetters && service !== "analytics",
  );
  expect(consumers.length).toBe(others.length);
});

test("workedOff() waits until nothing is left", async () => {
  const left = [3, 1, 0];
  expect(await workedOff({ backlog: async () => left.shift() ?? -1 }, { signal })).toBe(0);
  expect(left).toEqual([]);
});

test("workedOff() gives up, and says what is left", async () => {
  expect(await workedOff({ backlog: async () => 7 }, { signal, withinMs: 0 })).toBe(7);
});

test("workedOff() says nothing of a target that does not count it", async () => {
  expect(await workedOff({}, { signal })).toBeUndefined();
});

const level = { concurrency: 10, completed: 1_000 };

test("leftBehindProblems() takes what orders in flight swing by for no growth", () => {
  const busy = { ...level, what: "busy", leftBehind: 0.1 };
  expect(leftBehindProblems([busy])).toHaveLength(1);
  expect(leftBehindProblems([{ ...busy, concurrency: 100 }])).toEqual([]);
});

test("leftBehindProblems() names levels at which work was put off, and no others", () => {
  const problems = leftBehindProblems([
    { ...level, what: "a" },
    { ...level, what: "b", leftBehind: -0.2, unfinished: 0 },
    { ...level, what: "c", leftBehind: 0.05 },
    { ...level, what: "d", leftBehind: 0.5 },
    { ...level, what: "e", leftBehind: 0, unfinished: 1_200 },
  ]);
  expect(problems.map((line) => line.slice(0, 2))).toEqual(["d:", "e:"]);
  expect(problems[1]).toContain("1,200 messages");
});
