import { create, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Client, drained, type NatsServer, silent, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { newHeaders } from "./commit.ts";
import { key, message } from "./contracts/mod.ts";
import { findDeadLetter, listDeadLetters, redriveDeadLetter } from "./dead_letters.ts";
import type { Handler } from "./handler.ts";
import type { Ledger } from "./ledger.ts";
import { Processor } from "./processor.ts";
import { act, counter, openLedger, testTopology, waiting } from "./testing.ts";
import { type Topology, withDeadLetters } from "./topology.ts";
import { delayMs, OVERDUE_MS, type Patience } from "./waiting.ts";
import { sweepWaiting } from "./waiting_sweep.ts";

const topology: Topology = {
  ...testTopology,
  consumers: withDeadLetters([
    ...testTopology.consumers,
    { stream: "TEST", service: "test", contracts: [waiting.due], effects: "acts", begins: "first" },
  ]),
};
const consumers = topology.consumers
  .filter(({ service }) => service === "test")
  .map(({ stream, effects }) => ({ stream, name: "test", effects }));

/** What somebody outside answers. */
type Answer = "done" | "not yet";
type Acting = Handler<typeof act.schema, string, Answer>;

describe("what waits for somebody outside", () => {
  let server: NatsServer;
  let client: Client;
  let ledger: Ledger;
  let closing: AsyncDisposableStack;
  /** Ids that were asked for, in order, and what is answered. */
  let asked: string[];
  let answers: (id: string) => Promise<Answer>;

  beforeEach(async () => {
    closing = new AsyncDisposableStack();
    server = closing.use(await startNats());
    await applyTopology({ servers: server.url, topology });
    client = await server.connect();
    ({ ledger } = openLedger(client));
    closing.defer(() => ledger.shutdown({ graceMs: 0 }));
    asked = [];
    answers = async () => "done";
  });
  afterEach(() => closing.disposeAsync());

  const handler = (patience: Patience, options: Pick<Acting, "maxEffects"> = {}): Acting => ({
    contract: act,
    patience,
    ...options,
    keys: (_, id) => [key(counter, id)],
    decide: (view, _, { id }) =>
      view.get(counter, id) === undefined
        ? { kind: "perform", messages: [], effect: id }
        : { kind: "done", messages: [] },
    perform(id) {
      asked.push(id);
      return answers(id);
    },
    conclude: (_, __, answer, { id }) =>
      answer === "done"
        ? { kind: "done", messages: [message(counter, id, { available: 1n })] }
        : { kind: "wait", reason: answer },
  });
  const start = (acting: Acting): Processor => {
    const processor = new Processor(client.connection, client.js, ledger, {
      service: "test",
      consumers,
      handlers: [acting],
      waiting,
      log: silent,
    });
    closing.defer(() => processor.shutdown({ graceMs: 0 }));
    return processor;
  };
  const send = (id: string, headers: Record<string, string> = {}) => {
    const hdrs = newHeaders();
    for (const [name, value] of Object.entries(headers)) hdrs.set(name, value);
    const data = toBinary(act.schema, create(act.schema, { orderId: id }));
    return client.js.publish(`${act.subject}.${id}`, data, { headers: hdrs });
  };
  const acknowledged = async () => {
    await until("all to be acknowledged", () => drained(client.jsm, "INBOX", "test"));
    await until("all to be acknowledged", () => drained(client.jsm, "TEST", "test"));
  };
  const stateOf = async (id: string) => (await ledger.read(key(waiting.state, `${id}.inbox_act`))).value;
  const isDone = (id: string) =>
    until(`${id} to be done`, async () => (await ledger.read(key(counter, id))).value !== undefined);

  it("is tried again until it is done, with its tries, and holds no place meanwhile", async () => {
    let tries = 0;
    answers = async () => (++tries < 3 ? "not yet" : "done");
    start(handler({ firstMs: 600, maxMs: 600 }));
    await send("a");
    await until("it to wait", async () => (await stateOf("a"))?.tries === 1);
    await acknowledged();
    expect(await stateOf("a")).toMatchObject({ subject: "inbox.act.a", reason: "not yet" });
    await isDone("a");
    expect(asked).toEqual(["a", "a", "a"]);
    expect((await stateOf("a"))?.tries).toBe(2);
    expect((await stateOf("a"))?.nextTryAt).toBeUndefined();
    const timers = await client.jsm.streams.info("TEST", { subjects_filter: `${waiting.timer.subject}.>` });
    expect(timers.state.subjects ?? {}).toEqual({});
  });

  it("does not hold up others, however many wait", async () => {
    answers = async (id) => (id.startsWith("slow") ? "not yet" : "done");
    start(handler({ firstMs: 60_000, maxMs: 60_000 }));
    await Promise.all(Array.from({ length: 1_500 }, (_, n) => send(`slow-${n}`)));
    await send("quick");
    await isDone("quick");
    await acknowledged();
    expect(asked).toHaveLength(1_501);
  });

  it("is not tried by another message that asks for the same while it waits", async () => {
    answers = async () => "not yet";
    start(handler({ firstMs: 60_000, maxMs: 60_000, repeats: true }));
    await send("a");
    await until("it to wait", async () => (await stateOf("a"))?.tries === 1);
    const { nextTryAt } = (await stateOf("a")) ?? {};
    await send("a");
    await acknowledged();
    expect(asked).toEqual(["a"]);
    expect((await stateOf("a"))?.nextTryAt).toEqual(nextTryAt);
  });

  it("goes on waiting when it is delivered again though it was acknowledged", async () => {
    answers = async () => "not yet";
    start(handler({ firstMs: 60_000, maxMs: 60_000 }));
    await send("a");
    await until("it to wait", async () => (await stateOf("a"))?.tries === 1);
    await acknowledged();
    const { config } = await client.jsm.consumers.info("INBOX", "test");
    await client.jsm.consumers.delete("INBOX", "test");
    const { nextTryAt } = (await stateOf("a")) ?? {};
    await client.jsm.consumers.add("INBOX", config);
    await acknowledged();
    expect((await stateOf("a"))?.nextTryAt).toEqual(nextTryAt);
  });

  it("waits without being tried beyond the effects that may be under way", async () => {
    const gate = Promise.withResolvers<Answer>();
    answers = () => gate.promise;
    start(handler({ firstMs: 300, maxMs: 300 }, { maxEffects: 2 }));
    await Promise.all(["a", "b", "c"].map((id) => send(id)));
    await until("two to be under way", () => asked.length === 2);
    const third = ["a", "b", "c"].find((id) => !asked.includes(id)) ?? "";
    await until("the third to wait", async () => (await stateOf(third)) !== undefined);
    expect((await stateOf(third))?.reason).toBe("2 effects of inbox.act are under way");
    gate.resolve("done");
    await Promise.all(["a", "b", "c"].map(isDone));
  });

  it("becomes a dead letter of its own once it is too old, which can be redriven and waits again", async () => {
    answers = async () => "not yet";
    start(handler({ firstMs: 200, maxMs: 200, maxAgeMs: 500 }));
    await send("a", { "ce-id": "of-the-sender" });
    const parked = () => listDeadLetters(client.jsm, {}, { limit: 10 });
    const [letter] = (
      await until("it to be parked", async () => {
        const page = await parked();
        return page.letters.length > 0 && page;
      })
    ).letters;
    if (letter === undefined) throw new Error("nothing is parked");
    expect(letter).toMatchObject({ id: "test.test.INBOX.1", subject: "inbox.act.a", type: "inbox.act" });
    expect(letter.error).toMatch(/^tried [34] times in 0 hours: not yet$/);
    expect(letter.headers.get("ce-id")).toBe("of-the-sender");
    await acknowledged();

    const before = asked.length;
    const redriven = await redriveDeadLetter(client, letter.id, { by: "ada", topology });
    expect(redriven.outcome).toBe("redriven");
    await until("it to be tried again", () => asked.length > before + 1);
    expect(await findDeadLetter(client.jsm, letter.id)).toMatchObject({ status: "redriven" });
    answers = async () => "done";
    await isDone("a");
    await until("the letter to be handled", async () => {
      return (await findDeadLetter(client.jsm, letter.id))?.status === "handled";
    });
  });

  it("goes on in another process when one dies while it is tried", async () => {
    let tries = 0;
    const gate = Promise.withResolvers<Answer>();
    answers = async () => (++tries === 1 ? "not yet" : tries === 2 ? gate.promise : "done");
    const first = start(handler({ firstMs: 100, maxMs: 100 }));
    await send("a");
    await until("it to be tried again", () => tries === 2);
    await first.shutdown({ graceMs: 0 });
    start(handler({ firstMs: 100, maxMs: 100 }));
    await isDone("a");
    gate.resolve("done");
    await acknowledged();
    expect(asked).toHaveLength(3);
  });

  it("gets a timer again by the sweep when its own did not fire", async () => {
    let tries = 0;
    answers = async () => (++tries === 1 ? "not yet" : "done");
    start(handler({ firstMs: 60_000, maxMs: 60_000 }));
    await send("a");
    await until("it to wait", async () => (await stateOf("a")) !== undefined);
    await acknowledged();
    // The same without a schedule.
    const subject = `${waiting.timer.subject}.a.inbox_act`;
    const timer = await client.jsm.streams.getMessage("TEST", { last_by_subj: subject });
    if (timer === null) throw new Error("there is no timer");
    await client.js.publish(subject, timer.data);
    await client.jsm.streams.deleteMessage("TEST", timer.seq);
    const sweep = (now: Date) => {
      const { signal } = new AbortController();
      return sweepWaiting({ jsm: client.jsm, ledger, waiting, log: silent, signal }, now);
    };
    expect(await sweep(new Date())).toBe(0);
    expect(await sweep(new Date(Date.now() + 2 * OVERDUE_MS))).toBe(1);
    // It is set for a moment after the sweep, which was in two minutes.
    expect(Number((await stateOf("a"))?.nextTryAt?.seconds) * 1_000).toBeGreaterThan(Date.now() + OVERDUE_MS);
    expect(await sweep(new Date())).toBe(0);
  });

  it("parks what says that it has waited and carries nothing", async () => {
    start(handler({ firstMs: 100, maxMs: 100 }));
    await client.js.publish(`${waiting.due.subject}.a.inbox_act`, new Uint8Array());
    const page = await until("it to be parked", async () => {
      const { letters } = await listDeadLetters(client.jsm, {}, { limit: 10 });
      return letters.length > 0 && letters;
    });
    expect(page).toMatchObject([
      { subject: "test.waiting_due.a.inbox_act", error: "no handler for test.waiting_due" },
    ]);
  });
});

describe("delayMs()", () => {
  const patience = { firstMs: 1_000, maxMs: 6 * 3_600_000 };

  it("doubles with each try up to the longest", () => {
    const waits = [1, 2, 3, 12].map((tries) => delayMs(patience, { tries, jitter: 0 }));
    expect(waits).toEqual([1_000, 2_000, 4_000, 2_048_000]);
    expect(delayMs(patience, { tries: 100_000, jitter: 0 })).toBe(patience.maxMs);
  });

  it("is up to a half shorter by chance", () => {
    expect(delayMs(patience, { tries: 1, jitter: 0.99 })).toBe(505);
  });

  it("begins with what somebody outside has asked for, which it is never shorter than", () => {
    const notBeforeMs = 60_000;
    const of = (tries: number, jitter: number) => delayMs(patience, { tries, jitter, notBeforeMs });
    expect([of(1, 0), of(1, 0.5), of(2, 0), of(2, 0.99), of(3, 0)]).toEqual([
      60_000, 75_000, 120_000, 89_700, 240_000,
    ]);
  });
});
