import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { message } from "./contracts/mod.ts";
import {
  add,
  alarm,
  counter,
  increment,
  makeAnew,
  note,
  openLedger,
  testTopology,
  timer,
} from "./testing.ts";
import {
  findTornBatch,
  inspectTornBatch,
  ledgersOf,
  removeTornBatch,
  type TornBatch,
  tornText,
} from "./torn_batch.ts";
import { newTrace } from "./trace.ts";

const topology = { ...testTopology, contracts: [counter, note, timer, alarm, add] };
const [ledger = { stream: "", filters: [] }] = ledgersOf(topology);

describe("findTornBatch()", () => {
  let server: NatsServer;
  let client: Client;
  beforeAll(async () => {
    server = await startNats();
    client = await server.connect();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(() => makeAnew(client.jsm, server.url, topology));

  const find = () => findTornBatch(client.connection, ledger);
  /** Stores the state of `id`, a note, and a timer that fires at `at`, as one batch. */
  const store = async (id: string, at?: Date) => {
    await using opened = openLedger(client).ledger;
    const { keys, decide } = increment(id);
    const schedule = at && { schedule: { at, target: `${alarm.subject}.${id}` } };
    await opened.execute({
      keys,
      trace: newTrace(),
      decide: (view) => {
        const { messages, result } = decide(view);
        const timers = schedule === undefined ? [] : [message(timer, id, {}, schedule)];
        return { messages: [...messages, ...timers, message(note, id, {})], result };
      },
    });
  };
  /** As a power cut leaves a batch of which the server has lost its own copy: the last `count` messages are missing. */
  const tear = async (count: number) => {
    const { state } = await client.jsm.streams.info(ledger.stream);
    for (let n = 0; n < count; n++) {
      await client.jsm.streams.deleteMessage(ledger.stream, state.last_seq - n);
    }
  };

  it("finds nothing in a ledger that is empty, or ends in a message or in a batch that is whole", async () => {
    expect(await find()).toBeUndefined();
    await openLedger(client).ledger.execute(increment("a"));
    expect(await find()).toBeUndefined();
    await store("b");
    expect(await find()).toBeUndefined();
  });

  it("finds half a batch at the end, with the messages that are there", async () => {
    await store("a");
    await store("b", new Date(Date.now() + 60_000));
    await tear(1);
    const torn = (await find()) as TornBatch;
    expect(torn).toMatchObject({ stream: "TEST", from: 3, to: 4 });
    expect(tornText(torn)).toBe(
      "half of a commit is stored in TEST: messages 3 to 4 are there, and the rest was lost with the server",
    );
    const { messages } = await inspectTornBatch(client, torn);
    expect(messages).toEqual([
      { seq: 3, subject: "test.timer.b" },
      { seq: 4, subject: "test.counter.b" },
    ]);
  });

  it("takes a batch for whole whose timer has fired, and finds a torn one behind what was fired", async () => {
    const fires = async (id: string) => {
      const fired = `${alarm.subject}.${id}`;
      await until("the timer to fire", () => client.jsm.direct.getMessage("TEST", { last_by_subj: fired }));
    };
    await store("a", new Date(Date.now() + 200));
    await fires("a");
    expect(await find()).toBeUndefined();
    await store("b", new Date(Date.now() + 1_200));
    await tear(1);
    await fires("b");
    expect(await find()).toMatchObject({ from: 4, to: 5 });
  });

  it("finds it in buckets, and in streams that have no owner", () => {
    const buckets = [{ name: "B", owner: "test", description: "" }];
    expect(ledgersOf({ ...topology, buckets })).toEqual([
      { stream: "TEST", filters: ["test.counter.>", "test.note.>", "test.timer.>"] },
      { stream: "INBOX", filters: ["inbox.add.>"] },
      { stream: "DEAD_LETTER", filters: ["dead_letter.>"] },
      { stream: "KV_B", filters: ["$KV.B.>"] },
    ]);
  });

  it("is content once what was stored is removed, and says who may have acted on it", async () => {
    await store("a");
    await store("b");
    await client.jsm.consumers.add("TEST", { durable_name: "eager", filter_subject: "test.counter.>" });
    await client.jsm.consumers.add("TEST", { durable_name: "late", filter_subject: "test.counter.>" });
    await tear(1);
    const consumer = await client.js.consumers.get("TEST", "eager");
    const batch = await consumer.fetch({ max_messages: 2, expires: 1_000 });
    for await (const msg of batch) msg.ack();
    const torn = (await find()) as TornBatch;
    const details = await inspectTornBatch(client, torn);
    expect(details.deliveredTo).toEqual(["eager"]);
    expect(await removeTornBatch(client.jsm, torn, details)).toBe(1);
    expect(await find()).toBeUndefined();
    await store("b");
    expect(await find()).toBeUndefined();
  });
});
