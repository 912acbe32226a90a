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
import { key, message } from "./contracts/mod.ts";
import type { Ledger } from "./ledger.ts";
import { UnreadableStateError, viewAll } from "./read.ts";
import { LedgerBusyError, LedgerTimeoutError, MAX_WAITING, type Task } from "./task.ts";
import {
  type Attempt,
  alarm,
  counter,
  countsOf,
  gauge,
  increment,
  note,
  openLedger,
  testTopology,
  timer,
} from "./testing.ts";
import { newTrace } from "./trace.ts";

/** An answer that is not lost comes sooner, also where other tests take the cores. */
const ANSWER_MS = 2_000;

const trace = newTrace();

/** Adds one to counter `id`, once for each `name` however often it is carried out. */
function incrementOnce(id: string, name: string): Task<"now" | "before"> {
  const done = `${id}_${name}`;
  return {
    keys: [key(note, done), key(counter, id)],
    trace,
    decide(view) {
      if (view.get(note, done) !== undefined) return { messages: [], result: "before" };
      const available = (view.get(counter, id)?.available ?? 0n) + 1n;
      return { messages: [message(note, done, {}), message(counter, id, { available })], result: "now" };
    },
  };
}

/** Reads a counter, and stores nothing. */
function read(id: string): Task<bigint | undefined> {
  return {
    keys: [key(counter, id)],
    trace,
    decide: (view) => ({ messages: [], result: view.get(counter, id)?.available }),
  };
}

const range = (length: number) => Array.from({ length }, (_, n) => n + 1);

describe("Ledger", () => {
  let server: NatsServer;
  let client: Client;
  let proxy: NatsProxy;
  let ledger: Ledger;
  let attempts: Attempt[];
  let id: string;
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
    id = `c${++serial}`;
    ({ ledger, attempts } = openLedger(client));
    return () => ledger.shutdown({ graceMs: 0 });
  });

  describe("what a task begins", () => {
    /** Begins counter `id`, and says what it found. */
    const begin = (): Task<bigint | undefined> => ({
      keys: [key(counter, id)],
      begins: [key(counter, id).subject],
      trace,
      decide(view) {
        const before = view.get(counter, id)?.available;
        const messages = before === undefined ? [message(counter, id, { available: 1n })] : [];
        return { messages, result: before };
      },
    });

    it("is not read before it is stored", async () => {
      const asked: string[] = [];
      const sub = client.connection.subscribe("$JS.API.STREAM.MSG.GET.>", {
        callback: (_, msg) => void asked.push(msg.subject),
      });
      await client.connection.flush();
      expect(await ledger.execute(begin())).toBeUndefined();
      await client.connection.flush();
      sub.unsubscribe();
      expect(asked).toEqual([]);
      expect(await countsOf(client.jsm, id)).toEqual([1]);
    });

    it("is decided again on what is stored if it was there before", async () => {
      const { ledger: other } = openLedger(client);
      await other.execute(increment(id));
      expect(await ledger.execute(begin())).toBe(1n);
      expect(await countsOf(client.jsm, id)).toEqual([1]);
      await other.shutdown();
    });

    it("is read where the decision does not write it, and nothing would guard the guess", async () => {
      const { ledger: other } = openLedger(client);
      await other.execute(increment(id));
      const elsewhere = `${id}_other`;
      const found = await ledger.execute<bigint | undefined>({
        keys: [key(counter, id), key(counter, elsewhere)],
        begins: [key(counter, id).subject, key(counter, elsewhere).subject],
        trace,
        decide(view) {
          const result = view.get(counter, id)?.available;
          return { messages: [message(counter, elsewhere, { available: result ?? 0n })], result };
        },
      });
      expect(found).toBe(1n);
      expect(await countsOf(client.jsm, elsewhere)).toEqual([1]);
      await other.shutdown();
    });

    it("takes nobody along who is in the same batch, when the guess was wrong", async () => {
      const { ledger: other } = openLedger(client);
      await other.execute(increment(id));
      const fresh = range(20).map((n) => `${id}_${n}`);
      const tasks = fresh.map((name) => ({ ...increment(name), begins: [key(counter, name).subject] }));
      const results = await Promise.all([
        ledger.execute(begin()),
        ...tasks.map((task) => ledger.execute(task)),
      ]);
      expect(results).toEqual([1n, ...fresh.map(() => 1n)]);
      for (const name of fresh) expect(await countsOf(client.jsm, name)).toEqual([1]);
      await other.shutdown();
    });

    it("is one, of several who begin it in two processes at the same time", async () => {
      const { ledger: other } = openLedger(client);
      const results = await Promise.all([ledger.execute(begin()), other.execute(begin())]);
      expect(results.toSorted()).toEqual([1n, undefined]);
      expect(await countsOf(client.jsm, id)).toEqual([1]);
      await other.shutdown();
    });
  });

  describe("group commit", () => {
    it("stores many tasks with few batches, each once and in order", async () => {
      const results = await Promise.all(range(500).map(() => ledger.execute(increment(id))));
      expect(results).toEqual(range(500).map(BigInt));
      expect(await countsOf(client.jsm, id)).toEqual(range(500));
      expect(attempts.reduce((sum, { decisions }) => sum + decisions, 0)).toBe(500);
      expect(attempts.length).toBeLessThan(10);
    });

    it("has one commit in flight, and what comes meanwhile shares the next", async () => {
      await ledger.execute(increment(id));
      attempts.length = 0;
      const first = ledger.execute(increment(id));
      await until("the first to be sent", () => new Promise<true>((resolve) => setImmediate(resolve, true)));
      await Promise.all([first, ...range(50).map(() => ledger.execute(increment(id)))]);
      expect(attempts.map(({ decisions }) => decisions)).toEqual([1, 50]);
    });

    it("splits what does not fit into one batch", async () => {
      const five: Task<void> = {
        ...increment(id),
        decide: (view) => ({
          messages: [
            ...increment(id).decide(view).messages,
            ...range(4).map((n) => message(note, `${id}_${n}`, {})),
          ],
          result: undefined,
        }),
      };
      await Promise.all(range(300).map(() => ledger.execute(five)));
      expect(attempts.map(({ outcome }) => outcome)).not.toContain("conflict");
      expect(Math.max(...attempts.map(({ messages }) => messages))).toBeLessThanOrEqual(1_000);
      expect(await countsOf(client.jsm, id)).toEqual(range(300));
    });

    it("stores only the last of a gauge, every event, and knows their sequences", async () => {
      const task: Task<bigint> = {
        ...increment(id, { contract: gauge }),
        decide(view) {
          const { messages, result } = increment(id, { contract: gauge }).decide(view);
          return { messages: [...messages, message(note, `${id}_${result}`, {})], result };
        },
      };
      await Promise.all(range(100).map(() => ledger.execute(task)));
      expect(await countsOf(client.jsm, id, { contract: gauge })).toEqual([100]);
      await ledger.execute(task);
      expect(await countsOf(client.jsm, id, { contract: gauge })).toEqual([100, 101]);
      expect(attempts.map(({ outcome }) => outcome)).toEqual(["committed", "committed"]);
      const notes: string[] = [];
      for await (const stored of viewAll(client.jsm, "TEST", note)) notes.push(stored.id);
      expect(notes.slice(-101)).toEqual(range(101).map((n) => `${id}_${n}`));
    });
  });

  describe("onStored()", () => {
    it("is told of each message once it is stored, however often its task is decided or sent", async () => {
      const other = openLedger(client);
      const told: string[] = [];
      for (const one of [ledger, other.ledger]) one.onStored(({ subject }) => void told.push(subject));
      const both = [ledger, other.ledger];
      await Promise.all(range(20).flatMap((n) => both.map((one) => one.execute(incrementOnce(id, `${n}`)))));
      await other.ledger.shutdown({ graceMs: 0 });
      const notes = range(20).map((n) => key(note, `${id}_${n}`).subject);
      expect(told.filter((subject) => notes.includes(subject)).sort()).toEqual(notes.sort());
    });
  });

  describe("order", () => {
    it("decides tasks that share a key as they came, though some wait for reads", async () => {
      const order: number[] = [];
      const tasks = range(60).map((n): Task<void> => {
        // Every third names a key that nobody has read yet, so that the others could overtake it.
        const cold = n % 3 === 0 ? [key(note, `${id}_${n}`)] : [];
        return {
          keys: [key(counter, id), ...cold],
          trace,
          decide(view) {
            const available = (view.get(counter, id)?.available ?? 0n) + 1n;
            order[Number(available)] = n;
            return { messages: [message(counter, id, { available })], result: undefined };
          },
        };
      });
      await ledger.execute(increment(id));
      await Promise.all(tasks.map((task) => ledger.execute(task)));
      expect(order.slice(2)).toEqual(range(60));
    });

    it("keeps it when a commit gets no answer", async () => {
      const client = await proxy.connect();
      const { ledger } = openLedger(client, { commitTimeoutMs: ANSWER_MS });
      await ledger.execute(increment(id));
      proxy.judge(({ from, text }) => {
        if (from === "client" && text.includes(`test.counter.${id}`) && text.includes("HPUB")) {
          proxy.release();
          return "drop";
        }
        return "pass";
      });
      const early = range(5).map(() => ledger.execute(increment(id)));
      const late = range(5).map(() =>
        until("a moment", () => true).then(() => ledger.execute(increment(id))),
      );
      expect(await Promise.all([...early, ...late])).toEqual(range(10).map((n) => BigInt(n + 1)));
    });
  });

  describe("a task that fails", () => {
    it("fails alone when it throws, and stores nothing", async () => {
      const failing: Task<never> = {
        ...increment(id),
        decide() {
          throw new RangeError("no");
        },
      };
      const results = await Promise.allSettled(
        range(9).map((n) => ledger.execute(n === 5 ? failing : increment(id))),
      );
      expect(results.map(({ status }) => status).filter((status) => status === "rejected")).toHaveLength(1);
      await expect(ledger.execute(failing)).rejects.toThrow(RangeError);
      expect(await countsOf(client.jsm, id)).toEqual(range(8));
    });

    const wrong: Record<string, { task: (id: string) => Task<unknown>; error: RegExp }> = {
      "wants more than 1,000 messages stored": {
        task: (id) => ({
          ...increment(id),
          decide: (view) => ({
            messages: [
              ...increment(id).decide(view).messages,
              ...range(1_000).map((n) => message(note, `${n}`, {})),
            ],
            result: undefined,
          }),
        }),
        error: /1001 messages/,
      },
      "wants a message stored that is larger than the server takes": {
        task: (id) => alongside(id, message(note, id, { orderId: "x".repeat(1_100_000) })),
        error: /max_payload/,
      },
      "wants something stored that the server refuses": {
        task: (id) =>
          alongside(id, message(timer, id, {}, { schedule: { at: new Date(), target: "test.alarm.*" } })),
        error: /Cannot store in TEST/,
      },
      "wants a schedule at no time": {
        task: (id) =>
          alongside(
            id,
            message(timer, id, {}, { schedule: { at: new Date(Number.NaN), target: "test.alarm.x" } }),
          ),
        error: /Invalid time/,
      },
      "writes into another ledger": {
        task: (id) => alongside(id, { ...message(note, id, {}), subject: `inbox.add.${id}` }),
        error: /not of the ledger test/,
      },
      "writes none of its keys": {
        task: (id) => ({
          ...increment(id),
          decide: () => ({ messages: [message(note, id, {})], result: 0 }),
        }),
        error: /no state is written/,
      },
      "reads what it did not name": {
        task: (id) => ({
          ...increment(id),
          decide: (view) => ({ messages: [], result: view.get(note, id) }),
        }),
        error: /does not name it/,
      },
    };
    function alongside(id: string, extra: ReturnType<typeof message>): Task<unknown> {
      return {
        ...increment(id),
        decide: (view) => ({ messages: [...increment(id).decide(view).messages, extra], result: 0 }),
      };
    }
    for (const [what, { task, error }] of Object.entries(wrong)) {
      it(`fails alone when it ${what}`, async () => {
        const before = range(5).map(() => ledger.execute(increment(id)));
        const bad = ledger.execute(task(id));
        const after = range(5).map(() => ledger.execute(increment(id)));
        await expect(bad).rejects.toThrow(error);
        expect(await Promise.all([...before, ...after])).toEqual(range(10).map(BigInt));
        expect(await countsOf(client.jsm, id)).toEqual(range(10));
      });
    }

    it("fails alone when the state of a key cannot be decoded", async () => {
      const { seq } = await client.js.publish(`test.counter.${id}`, new Uint8Array([255]));
      await expect(ledger.execute(increment(id))).rejects.toThrow(UnreadableStateError);
      expect(await ledger.execute(increment(`${id}_other`))).toBe(1n);
      await client.jsm.streams.deleteMessage("TEST", seq);
    });
  });

  describe("several instances on one stream", () => {
    it("race: lose no update", async () => {
      const other = openLedger(await server.connect());
      await Promise.all(
        range(200).flatMap((n) => [
          // In waves, so that their commits meet.
          until("a turn", () => true).then(() => ledger.execute(increment(id))),
          until("a turn", () => n >= 0).then(() => other.ledger.execute(increment(id))),
        ]),
      );
      expect(await countsOf(client.jsm, id)).toEqual(range(400));
    });

    it("race: lose no update when each waits for its last one", async () => {
      const other = openLedger(await server.connect());
      const run = async (ledger: Ledger) => {
        for (const _ of range(100)) await ledger.execute(increment(id));
      };
      await Promise.all([run(ledger), run(ledger), run(other.ledger), run(other.ledger)]);
      expect(await countsOf(client.jsm, id)).toEqual(range(400));
      expect([...attempts, ...other.attempts].map(({ outcome }) => outcome)).toContain("conflict");
    });

    it("let tasks on other keys go before those on a contended one", async () => {
      const other = openLedger(client);
      await ledger.execute(increment(id));
      await Promise.all(range(10).map((n) => ledger.execute(increment(`${id}_${n}`))));
      await other.ledger.execute(increment(id));
      attempts.length = 0;
      await Promise.all([
        ledger.execute(increment(id)),
        ...range(10).map((n) => ledger.execute(increment(`${id}_${n}`))),
      ]);
      expect(attempts.map(({ outcome, decisions }) => [outcome, decisions])).toEqual([
        ["conflict", 11],
        ["committed", 10],
        ["committed", 1],
      ]);
    });

    it("confirm a decision that stores nothing by what the leader has", async () => {
      const other = openLedger(client);
      await ledger.execute(increment(id));
      await other.ledger.execute(increment(id));
      expect(await ledger.execute(read(id))).toBe(2n);
    });

    it("see that state was removed", async () => {
      await ledger.execute(increment(id));
      await client.jsm.streams.purge("TEST", { filter: `test.counter.${id}` });
      expect(await ledger.execute(read(id))).toBeUndefined();
      expect(await ledger.execute(increment(id))).toBe(1n);
    });
  });

  describe("when an answer is lost", () => {
    it("commit_unknown: has stored it once", async () => {
      const { ledger, attempts } = openLedger(await proxy.connect(), { commitTimeoutMs: ANSWER_MS });
      proxy.judge(({ from, text }) =>
        attempts.length === 0 && from === "server" && text.includes('"batch":') ? "drop" : "pass",
      );
      const executing = Promise.all(range(20).map((n) => ledger.execute(incrementOnce(id, `n${n}`))));
      // The second time, the state shows that it was done before.
      const before = (await executing).filter((result) => result === "before");
      expect(attempts.map(({ outcome }) => outcome)).toEqual([
        "unknown",
        ...attempts.slice(1).map(() => "committed"),
      ]);
      expect(before).toHaveLength(attempts[0]?.decisions ?? 0);
      expect(await countsOf(client.jsm, id)).toEqual(range(20));
    });

    it("commit_unknown: has stored it once when it lands after it was read again", async () => {
      const { ledger, attempts } = openLedger(await proxy.connect(), { commitTimeoutMs: ANSWER_MS });
      let reads = 0;
      proxy.judge(({ from, text }) => {
        if (from === "client" && text.includes("Nats-Batch-Id")) return "hold";
        // The answer to the second read of the counter is on its way: now the batch lands, before the retry.
        if (attempts.length > 0 && from === "server" && ++reads === 2) proxy.release();
        return "pass";
      });
      expect(await ledger.execute(incrementOnce(id, "one"))).toBe("before");
      expect(attempts.map(({ outcome }) => outcome)).toEqual(["unknown", "conflict"]);
      expect(await countsOf(client.jsm, id)).toEqual([1]);
    });

    it("commit_unknown: has stored it once when it lands after the retry", async () => {
      const { ledger, attempts } = openLedger(await proxy.connect(), { commitTimeoutMs: ANSWER_MS });
      proxy.judge(({ from, text }) =>
        attempts.length === 0 && from === "client" && text.includes("Nats-Batch-Id") ? "hold" : "pass",
      );
      expect(await ledger.execute(incrementOnce(id, "one"))).toBe("now");
      proxy.release();
      await client.connection.flush();
      expect(await ledger.execute(read(id))).toBe(1n);
      expect(await countsOf(client.jsm, id)).toEqual([1]);
    });

    it("has stored it once when the connection breaks", async () => {
      const { ledger } = openLedger(await proxy.connect(), { commitTimeoutMs: ANSWER_MS });
      await ledger.execute(increment(`${id}_warm`));
      const executing = Promise.all(range(200).map((n) => ledger.execute(incrementOnce(id, `n${n}`))));
      await until("the tasks to be sent", () => true);
      proxy.cut();
      await executing;
      expect(await countsOf(client.jsm, id)).toEqual(range(200));
    });
  });

  it("goes on after a connection that was lost again each time it came back", async () => {
    const { ledger } = openLedger(await proxy.connect());
    await ledger.execute(increment(id));
    proxy.refuse();
    // One that is written, and one that is read first.
    const executing = [ledger.execute(increment(id)), ledger.execute(increment(`${id}_other`))];
    await until("some attempts to come back", () => proxy.refused >= 3);
    proxy.release();
    expect(await Promise.all(executing)).toEqual([2n, 1n]);
  });

  describe("when the server goes away", () => {
    it("server_restart: has stored every task that resolved, once", async () => {
      const { ledger } = openLedger(client, { commitTimeoutMs: 500 });
      const resolved = new Set<string>();
      const executing = Promise.all(
        range(20).map(async (worker) => {
          for (const n of range(20)) {
            await ledger.execute(incrementOnce(id, `${worker}_${n}`));
            resolved.add(`${worker}_${n}`);
          }
        }),
      );
      await until("some tasks", () => resolved.size > 20);
      expect(resolved.size).toBeLessThan(400);
      await server.restart();
      await executing;
      expect(await countsOf(client.jsm, id)).toEqual(range(400));
    });

    it("gives up a task whose signal aborts, which may be stored all the same", async () => {
      await ledger.execute(increment(id));
      server.signal("SIGSTOP");
      try {
        const executing = ledger.execute(incrementOnce(id, "x"), { signal: AbortSignal.timeout(100) });
        await expect(executing).rejects.toThrow(LedgerTimeoutError);
        const aborted = ledger.execute(increment(id), { signal: AbortSignal.abort() });
        await expect(aborted).rejects.toThrow(LedgerTimeoutError);
      } finally {
        server.signal("SIGCONT");
      }
      await ledger.execute(incrementOnce(id, "x"));
      expect(await ledger.execute(read(id))).toBe(2n);
    });

    it(`takes ${MAX_WAITING} tasks, refuses the next, and carries them all out later`, async () => {
      server.signal("SIGSTOP");
      const executing: Promise<bigint>[] = [];
      try {
        for (const n of range(MAX_WAITING)) executing.push(ledger.execute(increment(`${id}_${n}`)));
        await expect(ledger.execute(increment(id))).rejects.toThrow(LedgerBusyError);
      } finally {
        server.signal("SIGCONT");
      }
      expect(new Set(await Promise.all(executing))).toEqual(new Set([1n]));
    });
  });

  describe("shutdown()", () => {
    it("waits for what is under way, then takes no more", async () => {
      const executing = Promise.all(range(100).map(() => ledger.execute(increment(id))));
      await ledger.shutdown();
      expect(await executing).toEqual(range(100).map(BigInt));
      await expect(ledger.execute(increment(id))).rejects.toThrow(LedgerBusyError);
    });

    it("fails what it cannot finish in time, wherever it is", async () => {
      await ledger.execute(increment(id));
      server.signal("SIGSTOP");
      try {
        const sent = ledger.execute(increment(id));
        const reading = ledger.execute(increment(`${id}_other`));
        const settled = Promise.allSettled([sent, reading]);
        await until(
          "the first to be sent",
          () => new Promise<true>((resolve) => setImmediate(resolve, true)),
        );
        await ledger.shutdown({ graceMs: 50 });
        expect(await settled).toMatchObject([
          { reason: expect.any(LedgerTimeoutError) },
          { reason: expect.any(LedgerBusyError) },
        ]);
      } finally {
        server.signal("SIGCONT");
      }
    });

    it("settles a task whose read is answered while it closes", async () => {
      const executing = ledger.execute(increment(id));
      await Promise.all([
        ledger.shutdown({ graceMs: 0 }),
        expect(executing).rejects.toThrow(LedgerBusyError),
      ]);
    });
  });

  it("stores a timer with the state, and cancels it", async () => {
    const at = new Date(Date.now() + 600_000);
    const target = key(alarm, id).subject;
    const set: Task<void> = {
      ...increment(id),
      decide: (view) => ({
        messages: [
          ...increment(id).decide(view).messages,
          message(timer, id, {}, { schedule: { at, target } }),
        ],
        result: undefined,
      }),
    };
    const cancel: Task<void> = {
      ...increment(id),
      decide: (view) => {
        const [state] = increment(id).decide(view).messages;
        return { messages: state ? [{ ...state, cancels: `test.timer.${id}` }] : [], result: undefined };
      },
    };
    const timers = async () =>
      (await client.jsm.streams.info("TEST", { subjects_filter: `test.timer.${id}` })).state.subjects;
    await ledger.execute(set);
    expect(await timers()).toEqual({ [`test.timer.${id}`]: 1 });
    await ledger.execute(cancel);
    expect((await timers()) ?? {}).toEqual({});
  });
});
