import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { sayWhenReady } from "./say_ready.ts";

const url = "http://127.0.0.1:8083";
let said: unknown[];
const log = {
  info: (fields: object, text: string) => void said.push([text, fields]),
  warn: (fields: object, text: string) => void said.push([text, fields]),
};

beforeEach(() => {
  said = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("sayWhenReady() says that a service listens when it has started, once, whatever an operator has set to fail", async () => {
  await using stack = new AsyncDisposableStack();
  let schemas = false;
  sayWhenReady({ nats: () => true, schemas: () => schemas, faults: () => false }, { url, log, stack });
  vi.advanceTimersByTime(5_000);
  // It may still be refused.
  expect(said).toEqual([]);
  schemas = true;
  vi.advanceTimersByTime(60_000);
  expect(said).toEqual([["listening", { url }]]);
});

it("sayWhenReady() says what a service waits for, less and less often, until it stops", async () => {
  const stack = new AsyncDisposableStack();
  sayWhenReady({ nats: () => true, schemas: () => false }, { url, log, stack });
  vi.advanceTimersByTime(45_000);
  const fields = { url, waits_for: ["schemas"] };
  const lines = [10, 20, 40].map((seconds) => [`not ready after ${seconds} s`, fields]);
  expect(said).toEqual(lines);
  await stack.disposeAsync();
  vi.advanceTimersByTime(60_000);
  expect(said).toEqual(lines);
});
