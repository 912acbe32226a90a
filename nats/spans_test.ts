import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { drained, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { Batch } from "./batch.ts";
import { type CommitOutcome, commit, newHeaders } from "./commit.ts";
import { encode, key, message, subjectOf } from "./contracts/mod.ts";
import type { Handler } from "./handler.ts";
import { Processor } from "./processor.ts";
import { traceCommit } from "./spans.ts";
import { act, add, counter, note, openLedger, RecordingTracer, testTopology } from "./testing.ts";
import { newTrace, type TraceContext } from "./trace.ts";

const sampled: TraceContext = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
const other: TraceContext = { traceparent: "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01" };
const counted = message(counter, "a", { available: 1n });
const noted = message(note, "a", {});

describe("traceCommit()", () => {
  function committed(outcome: CommitOutcome) {
    const tracer = new RecordingTracer();
    const batch = new Batch();
    batch.add([counted], new Map([[counted.subject, 0]]), { trace: newTrace() });
    batch.add([noted], new Map(), { trace: sampled });
    batch.add([counted, noted], new Map(), { trace: other, cause: sampled });
    const entries = batch.entries({ source: "/services/test", tracer }, new Date());
    traceCommit(tracer, batch, { stream: "TEST", outcome, startedAt: 5, decisions: 3 });
    return { tracer, entries };
  }

  it("ends a span for each stored message of a sampled trace, which is what the message carries", () => {
    const { tracer, entries } = committed({ kind: "committed", lastSeq: 40 });
    const creates = tracer.ended.filter(({ options }) => options.kind === "producer");
    expect(
      creates.map(({ name, options, attributes }) => [name, options.parent, attributes["shop.sequence"]]),
    ).toEqual([
      ["create test.note", sampled, 38],
      ["create test.counter", other, 39],
      ["create test.note", other, 40],
    ]);
    const sent = entries.map(({ headers }) => new TextDecoder().decode(headers.encode()));
    for (const [index, { trace }] of creates.entries()) {
      expect(sent[index + 1]).toContain(`traceparent: ${trace.traceparent}\r\n`);
    }
    expect(sent[0]).toMatch(/traceparent: .*-00\r\n/);
    expect(creates.map(({ options }) => options.links)).toEqual([undefined, [sampled], [sampled]]);
  });

  it("records the commit as a trace of its own that links them", () => {
    const { tracer } = committed({ kind: "committed", lastSeq: 40 });
    const [commit] = tracer.ended;
    const creates = tracer.ended.slice(1);
    expect(commit).toMatchObject({
      name: "commit TEST",
      options: { kind: "client", startedAt: 5, links: creates.map(({ trace }) => trace) },
      attributes: { "messaging.batch.message_count": 4, "shop.commit.decisions": 3 },
      failure: undefined,
    });
    expect(commit?.options.parent).toBeUndefined();
  });

  it.each(["conflict", "busy", "rejected"] as const)(
    "of a %s has no messages, and links who asked",
    (kind) => {
      const { tracer } = committed({ kind, code: 0, description: "" } as CommitOutcome);
      expect(tracer.ended.map(({ name, options, failure }) => [name, options.links, failure])).toEqual([
        ["commit TEST", [sampled, other, other], kind],
      ]);
    },
  );

  it("of an unknown outcome keeps the messages, which may be there, as failed", () => {
    const { tracer } = committed({ kind: "unknown", cause: new Error("no answer") });
    expect(tracer.ended.map(({ name, failure }) => [name, failure])).toEqual([
      ["commit TEST", "unknown"],
      ["create test.note", "unknown"],
      ["create test.counter", "unknown"],
      ["create test.note", "unknown"],
    ]);
  });

  it("records nothing of a batch that nobody records anything of", () => {
    const tracer = new RecordingTracer();
    const batch = new Batch();
    batch.add([counted], new Map(), { trace: newTrace() });
    batch.entries({ source: "/services/test", tracer }, new Date());
    traceCommit(tracer, batch, {
      stream: "TEST",
      outcome: { kind: "committed", lastSeq: 1 },
      startedAt: 0,
      decisions: 1,
    });
    expect(tracer.started).toEqual([]);
  });
});

describe("with a Tracer", () => {
  let server: NatsServer;
  let stack: AsyncDisposableStack;
  beforeEach(async () => {
    server = await startNats();
    stack = new AsyncDisposableStack();
    await applyTopology({ servers: server.url, topology: testTopology });
  });
  afterEach(async () => {
    await stack.disposeAsync();
    await server[Symbol.asyncDispose]();
  });

  const adding: Handler<typeof add.schema> = {
    contract: add,
    keys: (_, id) => [key(counter, id)],
    decide(view, _, { attempt }) {
      if (attempt === 1) return { kind: "retry", delayMs: 1, reason: "not yet" };
      const available = (view.get(counter, "a")?.available ?? 0n) + 1n;
      return { kind: "done", messages: [message(counter, "a", { available })] };
    },
  };
  const acting: Handler<typeof act.schema, string, { kind: string }> = {
    contract: act,
    keys: (_, id) => [key(counter, id)],
    decide: () => ({ kind: "perform", messages: [], effect: "bell" }),
    async perform(effect) {
      if (effect === "bell") throw new TypeError("Cannot ring");
      return { kind: "rung" };
    },
    describe: (effect) => ({ name: `ring ${effect}` }),
    conclude: () => ({ kind: "done", messages: [] }),
  };

  async function open(tracer: RecordingTracer) {
    const client = await server.connect();
    const { ledger } = openLedger(client, { tracer });
    stack.use(ledger);
    const consumers = [{ stream: "INBOX", name: "test" }];
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    stack.use(
      new Processor(client.connection, client.js, ledger, {
        service: "test",
        consumers,
        handlers: [adding, acting],
        log,
        tracer,
      }),
    );
    const send = (contract: typeof add, trace: TraceContext) => {
      const headers = newHeaders();
      headers.set("traceparent", trace.traceparent);
      const data = encode(contract, message(contract, "a", { orderId: "o" }).value);
      return commit(client.connection, "INBOX", [{ subject: subjectOf(contract, "a"), data, headers }]);
    };
    return { send, ledger, client };
  }

  it("a Processor records each delivery under its message, and what it stores under the delivery", async () => {
    const tracer = new RecordingTracer();
    const { send } = await open(tracer);
    await send(add, sampled);
    const processed = () => tracer.ended.filter(({ options }) => options.kind === "consumer");
    await until("the second delivery", () => processed().length === 2);
    const [first, second] = processed();
    expect(first).toMatchObject({
      name: "process inbox.add",
      options: { parent: sampled },
      attributes: { "shop.redelivered": false, "shop.outcome": "retry", "shop.reason": "not yet" },
    });
    expect(second).toMatchObject({
      options: { parent: sampled },
      attributes: { "shop.redelivered": true, "shop.delivery_count": 2, "shop.outcome": "done" },
    });
    const created = tracer.ended.find(({ name }) => name === "create test.counter");
    expect(created?.options.parent).toEqual(second?.trace);
  });

  it("a Processor records an effect, and that it failed", async () => {
    const tracer = new RecordingTracer();
    const { send } = await open(tracer);
    await send(act, sampled);
    const ended = await until("the effect", () => (tracer.ended.length >= 2 ? tracer.ended : undefined));
    expect(ended.slice(0, 2).map(({ name, failure, options }) => [name, options.kind, failure])).toEqual([
      ["ring bell", "client", "TypeError"],
      ["process inbox.act", "consumer", "TypeError"],
    ]);
    expect(ended[0]?.options.parent).toEqual(ended[1]?.trace);
  });

  it("nothing is asked of it about what is not sampled", async () => {
    const tracer = new RecordingTracer();
    const { send, client } = await open(tracer);
    await send(add, newTrace());
    await until("the message to be handled", () => drained(client.jsm, "INBOX", "test"));
    expect(tracer.started).toEqual([]);
  });

  it("a task that continues a state is recorded in the trace of its last message, read or remembered", async () => {
    const tracer = new RecordingTracer();
    const { ledger } = await open(tracer);
    const count = (available: bigint, trace: TraceContext) => ({
      keys: [key(counter, "b")],
      trace,
      continues: subjectOf(counter, "b"),
      decide: () => ({ messages: [message(counter, "b", { available })], result: undefined }),
    });
    await ledger.execute(count(1n, sampled));
    await ledger.execute(count(2n, other));
    // Another process, which has to read it.
    await (await open(tracer)).ledger.execute(count(3n, newTrace()));
    const creates = tracer.ended.filter(({ options }) => options.kind === "producer");
    expect(creates.map(({ options }) => [options.parent, options.links])).toEqual([
      [sampled, undefined],
      [creates[0]?.trace, [other]],
      [creates[1]?.trace, undefined],
    ]);
  });
});
