import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Client, drained, type NatsServer, silent, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { commit, newHeaders } from "./commit.ts";
import { encode, message } from "./contracts/mod.ts";
import { findDeadLetter, redriveDeadLetter } from "./dead_letters.ts";
import type { Advance, Projected, Projection, ProjectionBatch } from "./projection.ts";
import { Projector, type ProjectorOptions } from "./projector.ts";
import { add, makeAnew, projectionTopology as topology } from "./testing.ts";

/** What is stored at a time. */
interface Batch {
  readonly messages: readonly Projected[];
  readonly parked: readonly number[];
  readonly advance: Advance;
}

/** What a database is to the projector, in memory: it refuses a batch that was read from another position. */
class Memory implements Projection {
  readonly positions = new Map<string, number>();
  readonly times = new Map<string, Date>();
  readonly counted: Projected[] = [];
  readonly parked: number[] = [];
  /** How often it was opened. */
  opened = 0;
  lost: AbortSignal | undefined;
  /** What opening waits for. */
  turn: Promise<void> = Promise.resolve();
  /** Called with each batch before it is stored: may throw, or wait. */
  before: (batch: Batch) => void | Promise<void> = () => undefined;

  async open(): Promise<ReadonlyMap<string, number>> {
    this.opened += 1;
    await this.turn;
    return this.positions;
  }

  storedAt = async (): Promise<ReadonlyMap<string, Date>> => this.times;

  begin(): ProjectionBatch {
    const messages: Projected[] = [];
    const parked: number[] = [];
    return {
      add: (message) => void messages.push(message),
      park: ({ seq }) => void parked.push(seq),
      store: (advance) => this.store({ messages, parked, advance }),
    };
  }

  async store(batch: Batch): Promise<void> {
    await this.before(batch);
    for (const [stream, { from }] of batch.advance) {
      const position = this.positions.get(stream) ?? 0;
      if (position !== from) throw new Error(`${stream} is at ${position}, not at ${from}`);
    }
    for (const [stream, { to, storedAt }] of batch.advance) {
      this.positions.set(stream, to);
      if (storedAt !== undefined) this.times.set(stream, storedAt);
    }
    this.counted.push(...batch.messages);
    this.parked.push(...batch.parked);
  }
}

let nats: NatsServer;
let client: Client;
let memory: Memory;
const projectors = new Set<Projector>();

beforeAll(async () => {
  nats = await startNats();
  client = await nats.connect();
});
afterAll(() => nats[Symbol.asyncDispose]());
beforeEach(async () => {
  await makeAnew(client.jsm, nats.url, topology);
  memory = new Memory();
});
afterEach(async () => {
  for (const projector of projectors) await projector[Symbol.asyncDispose]();
  projectors.clear();
});

function start(options: Partial<ProjectorOptions> = {}): Projector {
  const projector = new Projector(client.connection, client.jsm, {
    service: "test",
    consumers: topology.consumers.map(({ stream }) => ({ stream, name: "test" })),
    contracts: [add],
    snapshots: [],
    projection: memory,
    log: silent,
    ...options,
  });
  projectors.add(projector);
  return projector;
}

async function send(count: number, data?: Uint8Array): Promise<number> {
  let last = 0;
  for (let i = 0; i < count; i++) {
    const { subject, value } = message(add, `c${i % 7}`, { orderId: `${i}` });
    const entry = { subject, data: data ?? encode(add, value), headers: newHeaders() };
    // Once more if nobody knows what became of it: it may be there twice, as another message.
    const outcome = await until("a message to be stored", async () => {
      const tried = await commit(client.connection, "INBOX", [entry]);
      return tried.kind === "committed" && tried;
    });
    last = outcome.lastSeq;
  }
  return last;
}

const sequences = () => memory.counted.map(({ seq }) => seq);
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
const lag = async () => {
  const info = await client.jsm.consumers.info("INBOX", "test");
  return info.num_pending + info.num_ack_pending;
};

describe("a projector", () => {
  it("counts every message once, in the order of the stream, and has nothing left to do", async () => {
    const last = await send(2_500);
    start();
    await until("all to be counted", () => memory.counted.length >= last);
    expect(sequences()).toEqual(upTo(last));
    await until("the acknowledgements", async () => (await lag()) === 0);
  });

  it("goes on from the position that is stored, whatever the consumer has acknowledged", async () => {
    const last = await send(20);
    const consumer = await client.js.consumers.get("INBOX", "test");
    for await (const msg of await consumer.fetch({ max_messages: 15, expires: 1_000 })) await msg.ackAck();
    memory.positions.set("INBOX", 4);
    start();
    await until("the rest", () => memory.counted.length >= last - 4);
    expect(sequences()).toEqual(upTo(last).slice(4));
  });

  it("takes no more once another may store, and goes on when it is its turn again", async () => {
    const lost = new AbortController();
    memory.lost = lost.signal;
    const projector = start();
    const before = await send(10);
    await until("all to be counted", () => memory.counted.length === before);
    const turn = Promise.withResolvers<void>();
    memory.turn = turn.promise;
    lost.abort();
    await until("it to wait for its turn", () => !projector.ready && memory.opened === 2);
    const last = await send(10);
    expect((await client.jsm.consumers.info("INBOX", "test")).num_ack_pending).toBe(0);
    memory.lost = undefined;
    turn.resolve();
    await until("the rest", () => memory.counted.length >= last);
    expect(sequences()).toEqual(upTo(last));
  });

  it("waits while nothing can be stored, and then stores all of it", async () => {
    const last = await send(50);
    let down = true;
    memory.before = () => {
      if (down) throw new Error("the database is down");
    };
    const projector = start();
    await until("it to have tried again", () => memory.opened >= 3);
    expect(memory.counted).toEqual([]);
    expect(await lag()).toBe(last);
    down = false;
    await until("all to be counted", () => memory.counted.length >= last);
    expect(sequences()).toEqual(upTo(last));
    expect(projector.ready).toBe(true);
  });

  it("does not count twice what was stored though the answer was lost", async () => {
    const last = await send(10);
    let lost = false;
    const store = memory.store.bind(memory);
    memory.store = async (batch) => {
      await store(batch);
      if (lost) return;
      lost = true;
      throw new Error("the connection was cut");
    };
    start();
    await until("nothing to be left", async () => lost && (await lag()) === 0);
    expect(sequences()).toEqual(upTo(last));
  });

  it("goes back to its position when the consumer is made anew under it", async () => {
    const first = await send(10);
    start();
    await until("these to be counted", () => memory.counted.length >= first);
    await client.jsm.consumers.delete("INBOX", "test");
    await applyTopology({ servers: nats.url, topology });
    const last = await send(10);
    await until("the others", () => memory.counted.length >= last, { timeoutMs: 20_000 });
    await until("the acknowledgements", async () => (await lag()) === 0);
    expect(sequences()).toEqual(upTo(last));
  });

  it("goes back to its position when deliveries are taken from it", async () => {
    // Somebody else pulls from the same consumer, and never acknowledges what it gets.
    const thief = await client.js.consumers.get("INBOX", "test");
    const theft = (async () => {
      let taken = 0;
      for await (const _ of await thief.fetch({ max_messages: 50, expires: 5_000 })) taken += 1;
      return taken;
    })();
    await until("the pull", async () => (await client.jsm.consumers.info("INBOX", "test")).num_waiting === 1);
    const projector = start();
    await until("it to begin", () => projector.ready);
    const last = await send(100);
    expect(await theft).toBeGreaterThan(0);
    await until("all to be counted", () => memory.counted.length >= last, { timeoutMs: 30_000 });
    expect(sequences()).toEqual(upTo(last));
  });

  it("survives the server's death, which may forget what was acknowledged last", async () => {
    await send(100);
    start();
    await until("some to be counted", () => memory.counted.length >= 100);
    await nats.restart();
    const last = await send(100);
    await until("all to be counted", () => memory.counted.length >= last, { timeoutMs: 30_000 });
    expect(sequences()).toEqual(upTo(last));
  });

  it("counts nothing of a stream that was made anew under it, which begins at 1 again", async () => {
    await send(3);
    memory.positions.set("INBOX", 3);
    const said: string[] = [];
    const log = { ...silent, warn: (fields: { err?: Error }) => void said.push(String(fields.err?.name)) };
    const projector = start({ log });
    await until("it to begin", () => projector.ready);
    await client.jsm.streams.delete("INBOX");
    await applyTopology({ servers: nats.url, topology });
    await send(2);
    await until("the warning", () => said.includes("ProjectionAheadError"), { timeoutMs: 20_000 });
    expect(memory.counted).toEqual([]);
    expect(memory.positions.get("INBOX")).toBe(3);
  });

  it("refuses to go on where the stream is older than what is counted, and takes nothing", async () => {
    await send(3);
    memory.positions.set("INBOX", 10);
    const said: string[] = [];
    const log = { ...silent, warn: (fields: { err?: Error }) => void said.push(String(fields.err?.message)) };
    const projector = start({ log });
    await until("the warning", () => said.length > 1);
    expect(said[0]).toContain("10 of its messages are counted and it has 3");
    expect(projector.ready).toBe(false);
    expect(memory.counted).toEqual([]);
  });

  it("refuses to go on where another message is stored at its position, and takes nothing", async () => {
    await send(3);
    start();
    await until("all to be counted", () => memory.counted.length >= 3);
    const { time } = (await client.jsm.streams.getMessage("INBOX", { seq: 3 })) ?? {};
    expect(memory.times.get("INBOX")?.getTime()).toBe(time?.getTime());
    const other = new Memory();
    other.positions.set("INBOX", 2);
    other.times.set("INBOX", new Date(0));
    const said: string[] = [];
    const log = { ...silent, warn: (fields: { err?: Error }) => void said.push(String(fields.err?.message)) };
    const projector = start({ log, projection: other });
    await until("the warning", () => said.length > 1);
    expect(said[0]).toMatch(/its message 2 was stored at .*, and one of 1970-01-01T00:00:00.000Z is counted/);
    expect(projector.ready).toBe(false);
    expect(other.counted).toEqual([]);
  });

  it("parks what it cannot read, leaves it out, and counts it when it is redriven", async () => {
    await send(1);
    const bad = await send(1, new TextEncoder().encode("no protobuf"));
    await send(1);
    let refused = true;
    start({ readable: (_, schema) => (refused && schema === "odd" ? "it is odd" : undefined) });
    await until("the others", () => memory.counted.length >= 2);
    expect(sequences()).toEqual([1, 3]);
    expect(memory.parked).toEqual([bad]);
    const poison = await findDeadLetter(client.jsm, `test.test.INBOX.${bad}`);
    expect(poison?.error).toContain("cannot be decoded");

    // One that a later build can read.
    const { subject, value } = message(add, "odd", { orderId: "odd" });
    const headers = newHeaders();
    headers.set("ce-dataschema", "odd");
    await commit(client.connection, "INBOX", [{ subject, data: encode(add, value), headers }]);
    await until("the letter", () => memory.parked.length === 2);
    refused = false;
    await redriveDeadLetter(client, "test.test.INBOX.4", { by: "eve", force: true });
    await until("it to be counted", () => memory.counted.length >= 3);
    expect(memory.counted.at(-1)).toMatchObject({ stream: "INBOX", seq: 4, redriven: true });
    const letter = await findDeadLetter(client.jsm, "test.test.INBOX.4");
    expect(letter?.status).toBe("handled");
  });

  it("counts of several snapshots in a batch the last that can be read, in place of those before it", async () => {
    await send(70);
    const bad = await send(1, new TextEncoder().encode("no protobuf"));
    const counted: string[] = [];
    start({ snapshots: [add], onBatch: (batch) => counted.push(...batch.counted) });
    await until("nothing to be left", () => drained(client.jsm, "INBOX", "test"));
    expect(memory.parked).toEqual([bad]);
    expect(counted).toHaveLength(70);
    const last = new Map(memory.counted.map(({ id, seq }) => [id, seq]));
    expect([...last.values()].sort((a, b) => a - b)).toEqual([64, 65, 66, 67, 68, 69, 70]);
  });

  it("takes nothing while somebody holds it, and then goes on from the position that is there", async () => {
    const first = await send(10);
    const projector = start();
    await until("these to be counted", () => memory.counted.length >= first);
    const other = new Memory();
    let last = 0;
    await projector.hold(async () => {
      last = await send(10);
      expect(projector.ready).toBe(false);
      memory.positions.set("INBOX", 5);
      memory.times.clear();
      memory.store = other.store.bind(other);
      other.positions.set("INBOX", 5);
    });
    await until("the rest", () => other.counted.length >= last - 5);
    expect(other.counted.map(({ seq }) => seq)).toEqual(upTo(last).slice(5));
  });

  it("ends when it is told to, in the middle of a batch that takes long, too", async () => {
    await send(10);
    const { promise, resolve } = Promise.withResolvers<void>();
    memory.before = () => promise;
    const projector = start();
    await until("it to begin", () => projector.ready);
    const ended = projector[Symbol.asyncDispose]();
    resolve();
    await ended;
    expect([0, 10]).toContain(memory.counted.length);
  });
});
