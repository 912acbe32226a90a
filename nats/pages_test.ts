import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, startNats } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { commit, newHeaders } from "./commit.ts";
import { isUnavailable } from "./link.ts";
import { readLasts, readPage } from "./pages.ts";
import { viewStored } from "./read.ts";

const stack = new AsyncDisposableStack();
let client: Client;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
});
afterAll(() => stack.disposeAsync());

async function store(stream: string, subjects: readonly string[], headers = newHeaders()): Promise<void> {
  const entries = subjects.map((subject, n) => ({
    subject,
    data: n % 2 === 0 ? new Uint8Array() : Uint8Array.of(n % 256, 13, 10, 13, 10),
    headers: n === 0 ? headers : newHeaders(),
  }));
  expect((await commit(client.connection, stream, entries)).kind).toBe("committed");
}

describe("readPage()", () => {
  it("reads what the client reads, also of messages that are empty", async () => {
    const subjects = Array.from({ length: 20 }, (_, n) => `order.created.read-${n}-☃`);
    await store("ORDER", subjects);
    const byClient = await viewStored(client.jsm, "ORDER", { subject: "order.>", limit: 1_000 });
    const { messages, pending } = await readPage(client.connection, "ORDER", { from: 1 });
    expect(pending).toBe(0);
    expect(messages.map(({ subject, seq, timeMs, data }) => ({ subject, seq, timeMs, data }))).toEqual(
      byClient.map(({ subject, seq, time, data }) => ({ subject, seq, timeMs: time.getTime(), data })),
    );
    expect(messages.map(({ headers }) => headers.has("Nats-Batch-Commit"))).toEqual(
      byClient.map(({ header }) => header.has("Nats-Batch-Commit")),
    );
    expect(messages.slice(-20).map(({ subject }) => subject)).toEqual(subjects);
  });

  it("begins where it is told, ends where it is told, and says how much there is after it", async () => {
    await store(
      "PAYMENT",
      Array.from({ length: 30 }, (_, n) => `payment.${n % 3 === 0 ? "payment" : "captured"}.o${n}`),
    );
    const seqs = async (options: Parameters<typeof readPage>[2]) => {
      const { messages, pending } = await readPage(client.connection, "PAYMENT", options);
      return { seqs: messages.map(({ seq }) => seq), pending };
    };
    expect(await seqs({ from: 11, limit: 3 })).toEqual({ seqs: [11, 12, 13], pending: 17 });
    expect(await seqs({ from: 3, limit: 2, subject: "payment.payment.*" })).toEqual({
      seqs: [4, 7],
      pending: 7,
    });
    expect(await seqs({ from: 31 })).toEqual({ seqs: [], pending: 0 });
  });

  it("reads an empty stream", async () => {
    expect(await readPage(client.connection, "FRAUD", { from: 1 })).toEqual({ messages: [], pending: 0 });
  });

  it("believes the server, not the headers that a message brings along", async () => {
    const headers = newHeaders();
    for (const name of ["Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending"])
      headers.set(name, "99");
    await store("NOTIFICATION", ["notification.mail.o1.order_received"], headers);
    const { messages, pending } = await readPage(client.connection, "NOTIFICATION", { from: 1 });
    expect(pending).toBe(0);
    expect(messages).toMatchObject([{ subject: "notification.mail.o1.order_received", seq: 1 }]);
    expect(messages[0]?.timeMs).toBeGreaterThan(Date.now() - 60_000);
  });

  it("begins at a time", async () => {
    await store("INVENTORY", ["inventory.item.a", "inventory.item.b"]);
    const { messages } = await readPage(client.connection, "INVENTORY", { from: 2 });
    const since = new Date(messages[0]?.timeMs ?? 0);
    const later = new Date(Date.now() + 60_000);
    expect((await readPage(client.connection, "INVENTORY", { since })).messages.at(-1)?.seq).toBe(2);
    expect(await readPage(client.connection, "INVENTORY", { since: later })).toEqual({
      messages: [],
      pending: 0,
    });
  });

  it("says so when there is nobody to answer", async () => {
    const cause = await readPage(client.connection, "NO_SUCH_STREAM", { from: 1 }).catch((cause) => cause);
    expect(isUnavailable(cause)).toBe(true);
  });
});

describe("readLasts()", () => {
  it("reads the last message of each subject that has one, in one answer or several", async () => {
    const subjects = Array.from({ length: 100 }, (_, n) => `fulfillment.shipped.o${n}`);
    const data = new Uint8Array(500_000);
    for (const subject of [...subjects, "fulfillment.shipped.o0"]) {
      const entry = { subject, data, headers: newHeaders() };
      expect((await commit(client.connection, "FULFILLMENT", [entry])).kind).toBe("committed");
    }
    const found = await readLasts(client.connection, "FULFILLMENT", [...subjects, "fulfillment.shipped.no"]);
    expect([...found.keys()].toSorted()).toEqual(subjects.toSorted());
    expect(found.get("fulfillment.shipped.o0")?.seq).toBe(101);
    expect(found.get("fulfillment.shipped.o7")?.seq).toBe(8);
    expect(await readLasts(client.connection, "FULFILLMENT", ["fulfillment.shipped.no"])).toEqual(new Map());
    expect(await readLasts(client.connection, "FULFILLMENT", [])).toEqual(new Map());
  });

  it("refuses more subjects than the server takes", async () => {
    const subjects = Array.from({ length: 1_001 }, (_, n) => `fulfillment.shipped.o${n}`);
    await expect(readLasts(client.connection, "FULFILLMENT", subjects)).rejects.toThrow(RangeError);
  });
});
