import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, silent, startNats } from "../test/support/mod.ts";
import { BatchReader, type BatchReaderOptions } from "./batch_reader.ts";
import { commit, newHeaders } from "./commit.ts";
import { encode, message } from "./contracts/mod.ts";
import { listDeadLetters, redriveDeadLetter } from "./dead_letters.ts";
import type { Projected } from "./projection.ts";
import { add, makeAnew, projectionTopology } from "./testing.ts";

const BAD = new TextEncoder().encode("no protobuf");

let nats: NatsServer;
let client: Client;
beforeAll(async () => {
  nats = await startNats();
  client = await nats.connect();
});
afterAll(() => nats[Symbol.asyncDispose]());
beforeEach(() => makeAnew(client.jsm, nats.url, projectionTopology));

/** Stores messages about `ids` in their order: as they should be, or with other bytes or headers. */
async function store(...messages: { id: string; data?: Uint8Array; forged?: true }[]): Promise<void> {
  for (const { id, data, forged } of messages) {
    const { subject, value } = message(add, id, { orderId: id });
    const headers = newHeaders();
    if (forged) headers.set("Nats-Stream", "ELSEWHERE");
    const entry = { subject, data: data ?? encode(add, value), headers };
    expect(await commit(client.connection, "INBOX", [entry])).toMatchObject({ kind: "committed" });
  }
}

/** Reads the next `count` deliveries as one batch, with `add` for a snapshot. */
async function read(
  count: number,
  { stream = "INBOX", ...options }: Partial<BatchReaderOptions & { stream: string }> = {},
) {
  const added: Projected[] = [];
  const parked: number[] = [];
  const reader = new BatchReader(client.connection, {
    service: "test",
    contracts: [add],
    snapshots: [add],
    projection: {
      begin: () => ({
        add: (projected) => void added.push(projected),
        park: ({ seq }) => void parked.push(seq),
        store: () => Promise.reject(new Error("nobody stores here")),
      }),
    },
    readable: undefined,
    log: silent,
    ...options,
  });
  const consumer = await client.js.consumers.get(stream, "test");
  const deliveries = await Array.fromAsync(await consumer.fetch({ max_messages: count, expires: 5_000 }));
  expect(deliveries).toHaveLength(count);
  const batch = await reader.read(deliveries);
  deliveries.at(-1)?.ack();
  return { added: added.map(({ id, seq, redriven }) => ({ id, seq, redriven })), parked, batch };
}

const letters = async () => {
  const { letters } = await listDeadLetters(client.jsm, { status: "parked" }, { limit: 9 });
  return letters.map(({ sequence }) => sequence).sort();
};

describe("BatchReader", () => {
  it("reads of the snapshots of a subject the last, which stands for those before it", async () => {
    await store({ id: "a" }, { id: "b" }, { id: "a" }, { id: "a" });
    const { added, batch } = await read(4);
    expect(added).toEqual([
      { id: "a", seq: 4, redriven: false },
      { id: "b", seq: 2, redriven: false },
    ]);
    expect(batch.counted).toEqual(Array(4).fill(add.subject));
    expect(batch.last.get("INBOX")?.seq).toBe(4);
  });

  it("does not look at one that another stands for", async () => {
    await store({ id: "a" }, { id: "a", data: BAD }, { id: "a" });
    expect(await read(3)).toMatchObject({ added: [{ seq: 3 }], parked: [] });
    expect(await letters()).toEqual([]);
  });

  it("parks the last ones if they cannot be read, and goes back to one that can", async () => {
    await store({ id: "a" }, { id: "a" }, { id: "a", data: BAD }, { id: "a", data: BAD });
    const { added, parked, batch } = await read(4);
    expect(added).toMatchObject([{ seq: 2 }]);
    expect(parked).toEqual([4, 3]);
    expect(batch.counted).toHaveLength(2);
    expect(await letters()).toEqual([3, 4]);
  });

  it("parks what is forged, whatever comes after it", async () => {
    await store({ id: "a" }, { id: "a", forged: true }, { id: "a" });
    expect(await read(3)).toMatchObject({ added: [{ seq: 3 }], parked: [2] });
    expect(await letters()).toEqual([2]);
  });

  it("counts one that is redriven for itself", async () => {
    await store({ id: "a" });
    expect(await read(1, { readable: () => "it is odd" })).toMatchObject({ added: [], parked: [1] });
    await redriveDeadLetter(client, "test.test.INBOX.1", { by: "eve", force: true });
    // The letter, and that it was redriven.
    const { added } = await read(2, { stream: "DEAD_LETTER" });
    expect(added).toEqual([{ id: "a", seq: 1, redriven: true }]);
  });
});
