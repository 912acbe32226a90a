import type { Msg } from "@nats-io/transport-node";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Client,
  type NatsProxy,
  type NatsServer,
  startNats,
  startProxy,
  until,
} from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { type BatchEntry, commit, newHeaders } from "./commit.ts";
import { testTopology } from "./testing.ts";

const text = new TextEncoder();

describe("commit()", () => {
  let server: NatsServer;
  let client: Client;
  let proxy: NatsProxy;
  let subject: string;
  let serial = 0;

  beforeAll(async () => {
    server = await startNats();
    await applyTopology({ servers: server.url, topology: testTopology });
    client = await server.connect();
    proxy = await startProxy(server.url);
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    subject = `test.commit.${++serial}`;
  });

  const entry = (
    options: Partial<Omit<BatchEntry, "headers">> & { headers?: Record<string, string> } = {},
  ): BatchEntry => {
    const { headers: fields = {}, ...rest } = options;
    const headers = newHeaders();
    for (const [name, value] of Object.entries(fields)) headers.set(name, value);
    return { subject, data: text.encode("x"), headers, ...rest };
  };
  const stored = async (filter = subject): Promise<number> => {
    const { state } = await client.jsm.streams.info("TEST", { subjects_filter: filter });
    return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  };
  const lastSeq = async () => (await client.jsm.streams.info("TEST")).state.last_seq;

  it("stores one message as a plain publish under its guard", async () => {
    const first = await commit(client.connection, "TEST", [entry({ expect: 0 })]);
    expect(first).toEqual({ kind: "committed", lastSeq: await lastSeq() });
    expect(await commit(client.connection, "TEST", [entry({ expect: 0 })])).toEqual({ kind: "conflict" });
    const seq = await lastSeq();
    expect(await commit(client.connection, "TEST", [entry({ expect: seq })])).toEqual({
      kind: "committed",
      lastSeq: seq + 1,
    });
  });

  it("stores a batch with consecutive sequences, in order", async () => {
    const before = await lastSeq();
    const entries = [1, 2, 3].map((n) => entry({ data: text.encode(String(n)) }));
    expect(await commit(client.connection, "TEST", entries)).toEqual({
      kind: "committed",
      lastSeq: before + 3,
    });
    const read = await Promise.all(
      [1, 2, 3].map((n) => client.jsm.streams.getMessage("TEST", { seq: before + n })),
    );
    expect(read.map((message) => message?.string())).toEqual(["1", "2", "3"]);
  });

  it("stores none of a batch when one guard does not hold", async () => {
    await commit(client.connection, "TEST", [entry({ expect: 0 })]);
    const outcome = await commit(client.connection, "TEST", [
      entry({ subject: `${subject}.a`, expect: 0 }),
      entry({ subject, expect: 0 }),
      entry({ subject: `${subject}.b` }),
    ]);
    expect(outcome).toEqual({ kind: "conflict" });
    expect(await stored(`${subject}.>`)).toBe(0);
    expect(await stored()).toBe(1);
  });

  it("guards the first write of a subject and lets later ones of the batch follow", async () => {
    const entries = [entry({ expect: 0 }), entry(), entry()];
    expect(await commit(client.connection, "TEST", entries)).toMatchObject({ kind: "committed" });
    expect(await stored()).toBe(3);
  });

  it("stores 1,000 messages as one and refuses 1,001 before sending any", async () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, n) => entry({ subject: `${subject}.${n}` }));
    expect(await commit(client.connection, "TEST", many(1_000))).toMatchObject({ kind: "committed" });
    await expect(commit(client.connection, "TEST", many(1_001))).rejects.toThrow(RangeError);
    await expect(commit(client.connection, "TEST", [])).rejects.toThrow(RangeError);
    expect(await stored(`${subject}.*`)).toBe(1_000);
  });

  it("stores a schedule with the batch, fires it once, and cancels it in a later batch", async () => {
    const schedule = (target: string, at: Date) => ({
      "Nats-Schedule": `@at ${at.toISOString()}`,
      "Nats-Schedule-Target": target,
    });
    const fired = `${subject}.fired`;
    const kept = `${subject}.kept`;
    const timers = [`${subject}.timer.1`, `${subject}.timer.2`] as const;
    await commit(client.connection, "TEST", [
      entry({ expect: 0 }),
      entry({ subject: timers[0], headers: schedule(fired, new Date(Date.now() + 500)) }),
      entry({ subject: timers[1], headers: schedule(kept, new Date(Date.now() + 600_000)) }),
    ]);
    const seq = await lastSeq();
    const cancelled = await commit(client.connection, "TEST", [
      entry({ headers: { "Nats-Scheduler": timers[1], "Nats-Schedule-Next": "purge" } }),
      entry(),
    ]);
    expect(cancelled).toEqual({ kind: "committed", lastSeq: seq + 2 });
    expect(await stored(timers[1])).toBe(0);
    await until("the schedule to fire", async () => (await stored(fired)) === 1);
    expect(await stored(timers[0])).toBe(0);
    expect(await stored(kept)).toBe(0);
  });

  it("replaces a schedule that is stored again under its subject", async () => {
    const later = (ms: number) => ({
      "Nats-Schedule": `@at ${new Date(Date.now() + ms).toISOString()}`,
      "Nats-Schedule-Target": `${subject}.fired`,
    });
    for (const ms of [600_000, 700_000]) {
      await commit(client.connection, "TEST", [
        entry({ subject: `${subject}.timer`, headers: later(ms) }),
        entry(),
      ]);
    }
    expect(await stored(`${subject}.timer`)).toBe(1);
  });

  it("rejects what the server will never store", async () => {
    const bad = { "Nats-Schedule": "@at never", "Nats-Schedule-Target": `${subject}.fired` };
    const outcome = await commit(client.connection, "TEST", [entry(), entry({ headers: bad })]);
    expect(outcome).toMatchObject({ kind: "rejected", code: expect.any(Number) });
    expect(await stored()).toBe(0);
  });

  describe("does not take for committed what a server has stored otherwise than it was asked", () => {
    const batchId = (msg: Msg) => msg.headers?.get("Nats-Batch-Id") ?? "";
    it.each<[string, (msg: Msg) => object]>([
      ["the last message alone", () => ({ stream: "TEST", seq: 1 })],
      ["fewer messages", (msg) => ({ stream: "TEST", seq: 2, batch: batchId(msg), count: 2 })],
      ["another batch", () => ({ stream: "TEST", seq: 3, batch: "another", count: 3 })],
      ["in another stream", (msg) => ({ stream: "OTHER", seq: 3, batch: batchId(msg), count: 3 })],
      ["nobody knows where", (msg) => ({ stream: "TEST", batch: batchId(msg), count: 3 })],
    ])("%s", async (_, answer) => {
      // Such a server does not exist any more: one before 2.12 has no batches.
      const subject = `nowhere.commit.${++serial}`;
      const server = client.connection.subscribe(subject, {
        callback: (_, msg) => void (msg.reply && msg.respond(JSON.stringify(answer(msg)))),
      });
      const entries = [entry({ subject }), entry({ subject }), entry({ subject })];
      const outcome = await commit(client.connection, "TEST", entries);
      server.unsubscribe();
      expect(outcome).toMatchObject({
        kind: "rejected",
        description: expect.stringContaining("unexpected answer"),
      });
    });
  });

  it("rejects a message of another stream, and stores it nowhere", async () => {
    const before = (await client.jsm.streams.info("INBOX")).state.last_seq;
    expect(await commit(client.connection, "TEST", [entry({ subject: "inbox.add.x" })])).toMatchObject({
      kind: "rejected",
      code: 10060,
    });
    expect(
      await commit(client.connection, "TEST", [entry(), entry({ subject: "inbox.add.x" })]),
    ).not.toMatchObject({
      kind: "committed",
    });
    expect((await client.jsm.streams.info("INBOX")).state.last_seq).toBe(before);
    expect(await stored()).toBe(0);
  });

  it("rejects a message that is larger than the server takes, wherever it stands", async () => {
    const large = new Uint8Array((client.connection.info?.max_payload ?? 0) + 1);
    for (const entries of [
      [entry({ data: large })],
      [entry({ data: large }), entry()],
      [entry(), entry({ data: large })],
    ]) {
      expect(await commit(client.connection, "TEST", entries)).toMatchObject({ kind: "rejected" });
    }
    expect(await stored()).toBe(0);
  });

  it("does not know the outcome where no stream answers", async () => {
    const nowhere = [entry({ subject: "nowhere.x.1" })];
    expect(await commit(client.connection, "NOWHERE", nowhere)).toMatchObject({ kind: "unknown" });
  });

  it("does not know the outcome when exactly the answer is lost", async () => {
    const { connection } = await proxy.connect();
    proxy.judge(({ from, text }) => (from === "server" && text.includes('"batch":') ? "drop" : "pass"));
    const outcome = await commit(connection, "TEST", [entry({ expect: 0 }), entry()], { timeoutMs: 300 });
    proxy.release();
    expect(outcome).toMatchObject({ kind: "unknown" });
    expect(await stored()).toBe(2);
  });

  it("does not know the outcome of a batch that lost a message, of which nothing is stored", async () => {
    const { connection } = await proxy.connect();
    proxy.judge(({ from, text }) =>
      from === "client" && text.includes("Nats-Batch-Sequence: 2\r") ? "drop" : "pass",
    );
    const outcome = await commit(connection, "TEST", [entry(), entry(), entry()], { timeoutMs: 2_000 });
    proxy.release();
    expect(outcome).toMatchObject({ kind: "unknown" });
    expect(await stored()).toBe(0);
  });

  it("does not know the outcome while the server stands still, and the batch may land afterwards", async () => {
    server.signal("SIGSTOP");
    const outcome = await commit(client.connection, "TEST", [entry(), entry()], { timeoutMs: 200 });
    server.signal("SIGCONT");
    expect(outcome).toMatchObject({ kind: "unknown" });
    await until("the batch", async () => (await stored()) === 2);
  });

  it("does not know the outcome when the server is killed, and all or none of the batch is there", async () => {
    const entries = Array.from({ length: 500 }, () => entry({ data: new Uint8Array(1_000) }));
    const committing = Array.from({ length: 5 }, () =>
      commit(client.connection, "TEST", entries, { timeoutMs: 1_000 }),
    );
    const restarted = server.restart();
    const outcomes = await Promise.all(committing);
    await restarted;
    const known = outcomes.filter(({ kind }) => kind === "committed").length;
    const count = await until("the server", () => stored().catch(() => undefined));
    expect(count % 500).toBe(0);
    expect(count).toBeGreaterThanOrEqual(known * 500);
    expect(outcomes.map(({ kind }) => kind)).toContain("unknown");
  });
});
