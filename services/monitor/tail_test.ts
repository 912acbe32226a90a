import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { applyTopology, commit, newHeaders } from "../../nats/mod.ts";
import { type Client, startNats, until } from "../../test/support/mod.ts";
import { Tail } from "./tail.ts";

let stack: AsyncDisposableStack;
let client: Client;
let tail: Tail;
let told: string[];

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  tail = new Tail(client.connection, [{ name: "ORDER" }, { name: "PAYMENT" }, { name: "FRAUD" }]);
  told = [];
});
afterEach(() => stack.disposeAsync());

/** Stores `count` messages `<subject>.<first>`, `<subject>.<first + 1>` … as one batch. */
async function store(subject: string, first: number, count = 1): Promise<string[]> {
  const subjects = Array.from({ length: count }, (_, n) => `${subject}.${first + n}`);
  const entries = subjects.map((subject) => ({ subject, data: new Uint8Array(), headers: newHeaders() }));
  const stream = subject.split(".")[0]?.toUpperCase() ?? "";
  expect((await commit(client.connection, stream, entries)).kind).toBe("committed");
  return subjects;
}

const step = () => tail.step(({ subject }) => void told.push(subject));

describe("Tail", () => {
  it("tells what several streams hold in the order in which it was stored, over many pages", async () => {
    const all: string[] = [];
    for (let n = 0; n < 5; n++) {
      all.push(...(await store("order.created", n * 500, 500)));
      all.push(...(await store("payment.captured", n)));
    }
    while ((await step()) > 0);
    expect(told).toEqual(all);
    expect(tail.position("ORDER")).toBe(2_500);
    expect(tail.position("FRAUD")).toBe(0);
  });

  it("tells in a round what was there when it began, and the rest in the next", async () => {
    const before = [
      ...(await store("order.created", 0, 700)),
      ...(await store("payment.captured", 0)),
      ...(await store("order.created", 700, 700)),
    ];
    const began = Date.now();
    await step();
    expect(tail.caughtUp).toBe(false);
    expect(tail.toldUpTo).toBeLessThan(began);
    const captured = await store("payment.captured", 1);
    // What two streams store within one millisecond has no order.
    const stored = Date.now();
    await until("the next millisecond", () => Date.now() > stored + 1);
    const after = [...captured, ...(await store("order.created", 1_400))];
    await step();
    expect(tail.caughtUp).toBe(true);
    expect(told).toEqual(before);
    expect(tail.toldUpTo).toBeGreaterThanOrEqual(began);
    expect(await step()).toBe(2);
    expect(told).toEqual([...before, ...after]);
    expect(await step()).toBe(0);
    expect(tail.caughtUp).toBe(true);
  });

  it("tells nothing of what was not there, and knows when that was", async () => {
    const began = Date.now();
    expect(await step()).toBe(0);
    expect(tail.toldUpTo).toBeGreaterThanOrEqual(began);
  });

  it("begins its round anew when it could not read all streams", async () => {
    const all = await store("order.created", 0, 10);
    const { config } = await client.jsm.streams.info("FRAUD");
    await client.jsm.streams.delete("FRAUD");
    await expect(step()).rejects.toThrow();
    expect(told).toEqual([]);
    expect(tail.toldUpTo).toBe(0);
    await client.jsm.streams.add(config);
    while ((await step()) > 0);
    expect(told).toEqual(all);
  });
});
