import { describe, expect, it } from "vitest";
import { Batch, MAX_BATCH_BYTES } from "./batch.ts";
import { MAX_BATCH_MESSAGES } from "./commit.ts";
import { type Contract, key, message } from "./contracts/mod.ts";
import { counter, gauge, note, timer } from "./testing.ts";
import { newTrace, type TraceContext } from "./trace.ts";

const trace = newTrace();
const sender = { source: "/services/test", dataSchema: () => "http://registry/schemas/ids/7" };
const now = new Date("2026-01-01T00:00:00Z");

const count = (contract: Contract<typeof counter.schema>, id: string, available: number) =>
  message(contract, id, { available: BigInt(available) });

function headersOf(batch: Batch): Record<string, string>[] {
  return batch.entries(sender, now).map(({ headers }) => {
    const lines = new TextDecoder().decode(headers.encode()).trimEnd().split("\r\n").slice(1);
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
    );
  });
}

describe("Batch", () => {
  it("guards the first write of each key by the sequence it was read at, and nothing else", () => {
    const batch = new Batch();
    const guards = new Map([[key(counter, "a").subject, 7]]);
    batch.add([count(counter, "a", 1), message(note, "x", {})], guards, { trace });
    batch.add([count(counter, "a", 2)], guards, { trace });
    expect(batch.entries(sender, now).map(({ subject, expect }) => [subject, expect])).toEqual([
      ["test.counter.a", 7],
      ["test.note.x", undefined],
      ["test.counter.a", undefined],
    ]);
    expect(batch.guarded()).toEqual(["test.counter.a"]);
  });

  it("shows what it will store last under a subject", () => {
    const batch = new Batch();
    expect(batch.has("test.counter.a")).toBe(false);
    batch.add([count(counter, "a", 1), count(counter, "a", 2)], new Map(), { trace });
    expect(batch.get("test.counter.a")).toMatchObject({ available: 2n });
    expect(batch.get("test.counter.b")).toBeUndefined();
  });

  it("stores the last value of a latest contract where the first one stood, under its guard", () => {
    const batch = new Batch();
    const guards = new Map([["test.gauge.a", 3]]);
    batch.add([count(gauge, "a", 1), message(note, "1", {})], guards, { trace });
    batch.add([count(gauge, "a", 2), message(note, "2", {})], guards, { trace });
    expect(batch.entries(sender, now).map(({ subject, expect }) => [subject, expect])).toEqual([
      ["test.gauge.a", 3],
      ["test.note.1", undefined],
      ["test.note.2", undefined],
    ]);
    expect([...batch.stored(12)].map(({ message, seq }) => [message.subject, seq])).toEqual([
      ["test.gauge.a", 10],
      ["test.note.1", 11],
      ["test.note.2", 12],
    ]);
    expect(batch.get("test.gauge.a")).toMatchObject({ available: 2n });
  });

  it("keeps a message that cancels a schedule, though a later value of its subject follows", () => {
    const batch = new Batch();
    batch.add([{ ...count(gauge, "a", 1), cancels: "test.timer.a" }], new Map(), { trace });
    batch.add([count(gauge, "a", 2)], new Map(), { trace });
    expect(headersOf(batch).map((headers) => headers["Nats-Scheduler"])).toEqual(["test.timer.a", undefined]);
  });

  it("never sets a schedule that a later decision of the same batch removes", () => {
    const batch = new Batch();
    const schedule = { at: now, target: "test.alarm.a" };
    batch.add([count(counter, "a", 1), message(timer, "a", {}, { schedule })], new Map(), { trace });
    batch.add([{ ...count(counter, "a", 2), cancels: "test.timer.a" }], new Map(), { trace });
    batch.add([message(timer, "a", {}, { schedule })], new Map(), { trace });
    expect(batch.entries(sender, now).map(({ subject }) => subject)).toEqual([
      "test.counter.a",
      "test.counter.a",
      "test.timer.a",
    ]);
    expect([...batch.stored(12)].map(({ message, seq }) => [message.subject, seq])).toEqual([
      ["test.counter.a", 11],
      ["test.timer.a", 12],
    ]);
  });

  it("never ends with a schedule, whose place is empty once it has fired", () => {
    const batch = new Batch();
    const schedule = { at: now, target: "test.alarm.a" };
    for (const id of ["a", "b"]) {
      batch.add([count(counter, id, 1), message(timer, id, {}, { schedule })], new Map(), { trace });
    }
    const subjects = ["test.timer.a", "test.timer.b", "test.counter.a", "test.counter.b"];
    expect(batch.entries(sender, now).map(({ subject }) => subject)).toEqual(subjects);
    expect([...batch.stored(14)].map(({ message, seq }) => [message.subject, seq])).toEqual(
      subjects.map((subject, index) => [subject, 11 + index]),
    );
  });

  it("tells the sequence of the last write of each subject", () => {
    const batch = new Batch();
    batch.add([count(counter, "a", 1), count(counter, "b", 1), count(counter, "a", 2)], new Map(), { trace });
    expect([...batch.stored(30)].map(({ message, seq }) => [message.subject, seq])).toEqual([
      ["test.counter.b", 29],
      ["test.counter.a", 30],
    ]);
  });

  it("takes a decision whole or not at all, and refuses one that no batch can hold", () => {
    const batch = new Batch();
    const many = (length: number) => Array.from({ length }, (_, n) => message(note, `n${n}`, {}));
    batch.add(many(MAX_BATCH_MESSAGES - 1), new Map(), { trace });
    expect(batch.add(many(2), new Map(), { trace })).toBe(false);
    expect(batch.size).toBe(MAX_BATCH_MESSAGES - 1);
    expect(batch.add(many(1), new Map(), { trace })).toBe(true);
    expect(() => new Batch().add(many(MAX_BATCH_MESSAGES + 1), new Map(), { trace })).toThrow(RangeError);
  });

  it("is full by bytes as well, and values that are replaced do not count", () => {
    const large = (id: string) => message(note, id, { orderId: "x".repeat(MAX_BATCH_BYTES / 4) });
    const batch = new Batch();
    expect([1, 2, 3, 4].map((n) => batch.add([large(`n${n}`)], new Map(), { trace }))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    const gauges = new Batch();
    const heavy = message(gauge, "a", { sku: "x".repeat(MAX_BATCH_BYTES / 4) });
    expect(Array.from({ length: 10 }, () => gauges.add([heavy], new Map(), { trace }))).not.toContain(false);
  });

  it("says of each message what CloudEvents and Trace Context want to know", () => {
    const batch = new Batch();
    const traced: TraceContext = { ...trace, tracestate: "vendor=1" };
    batch.add([count(counter, "a.b", 1), message(note, "x", {})], new Map(), { trace: traced });
    const [first, second] = headersOf(batch);
    expect(first).toEqual({
      "ce-specversion": "1.0",
      "ce-id": expect.stringMatching(/^[0-9a-f]{32}\.1$/),
      "ce-source": "/services/test",
      "ce-type": "shop.inventory.v1.Item",
      "ce-subject": "a.b",
      "ce-time": "2026-01-01T00:00:00.000Z",
      "ce-dataschema": "http://registry/schemas/ids/7",
      "content-type": "application/protobuf",
      traceparent: trace.traceparent,
      tracestate: "vendor=1",
    });
    expect(first?.["ce-id"]).not.toBe(second?.["ce-id"]);
    // Where nobody records there is no hop that anything could be a child of.
    expect(second?.traceparent).toBe(trace.traceparent);
  });

  it("writes schedules and cancellations as the server wants them", () => {
    const batch = new Batch();
    const schedule = { at: now, target: "test.alarm.a" };
    batch.add(
      [message(timer, "a", {}, { schedule }), message(note, "x", {}, { cancels: "test.timer.b" })],
      new Map(),
      { trace },
    );
    expect(headersOf(batch)).toMatchObject([
      { "Nats-Schedule": "@at 2026-01-01T00:00:00.000Z", "Nats-Schedule-Target": "test.alarm.a" },
      { "Nats-Scheduler": "test.timer.b", "Nats-Schedule-Next": "purge" },
    ]);
  });
});
