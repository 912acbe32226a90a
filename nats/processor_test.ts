import { setTimeout as sleep } from "node:timers/promises";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { DiscardPolicy, JetStreamApiError } from "@nats-io/jetstream";
import { errors, nanos, headers as newHeaders } from "@nats-io/transport-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Client,
  drained,
  type NatsServer,
  silent,
  startNats,
  startProxy,
  until,
} from "../test/support/mod.ts";
import { applyTopology, consumerConfig } from "./apply.ts";
import { type Contract, key, message } from "./contracts/mod.ts";
import { findDeadLetter, redriveDeadLetter } from "./dead_letters.ts";
import type { AnyHandler, Handler } from "./handler.ts";
import type { Ledger } from "./ledger.ts";
import { Processor, type ProcessorOptions } from "./processor.ts";
import { viewAll } from "./read.ts";
import { act, add, counter, countsOf, note, openLedger, other, testTopology } from "./testing.ts";
import { withDeadLetters } from "./topology.ts";
import { traceFrom } from "./trace.ts";

type Command = typeof add.schema;

/** Adds one to the counter of the command's id, once for each `orderId`, and notes it. */
const adding: Handler<Command> = {
  contract: add,
  keys: ({ orderId }, id) => [key(note, orderId), key(counter, id)],
  decide(view, { orderId }, { id }) {
    if (view.get(note, orderId) !== undefined) return { kind: "done", messages: [] };
    const available = (view.get(counter, id)?.available ?? 0n) + 1n;
    return {
      kind: "done",
      messages: [message(note, orderId, { orderId }), message(counter, id, { available })],
    };
  },
};

/** Stores 1, performs `effect`, stores 2: an effect that was begun and not concluded is performed again. */
function acting(
  effect: (id: string, options: { signal: AbortSignal; attempt: number }) => Promise<unknown>,
): Handler<Command, string, unknown> {
  const stage = (view: Parameters<Handler<Command>["decide"]>[0], id: string) =>
    Number(view.get(counter, id)?.available ?? 0n);
  return {
    contract: act,
    keys: ({ orderId }) => [key(counter, orderId)],
    decide(view, { orderId }) {
      if (stage(view, orderId) === 2) return { kind: "done", messages: [] };
      const messages = stage(view, orderId) === 0 ? [message(counter, orderId, { available: 1n })] : [];
      return { kind: "perform", messages, effect: orderId };
    },
    perform: (id, options) => effect(id, options),
    conclude: (view, { orderId }) => ({
      kind: "done",
      messages: stage(view, orderId) === 2 ? [] : [message(counter, orderId, { available: 2n })],
    }),
  };
}

const range = (length: number) => Array.from({ length }, (_, n) => n + 1);

describe("Processor", () => {
  let server: NatsServer;
  let client: Client;
  let ledger: Ledger;
  let deliveries: { subject: string; outcome: string; redelivered: boolean }[];
  let closing: AsyncDisposableStack;

  beforeEach(async () => {
    closing = new AsyncDisposableStack();
    server = closing.use(await startNats());
    await applyTopology({ servers: server.url, topology: testTopology });
    client = await server.connect();
    ({ ledger } = openLedger(client, { commitTimeoutMs: 1_000 }));
    closing.defer(() => ledger.shutdown({ graceMs: 0 }));
    deliveries = [];
  });
  afterEach(() => closing.disposeAsync());

  const send = (
    contract: Contract<Command>,
    id: string,
    init: MessageInitShape<Command>,
    headers: Record<string, string> = {},
  ) => {
    const hdrs = newHeaders();
    for (const [name, value] of Object.entries(headers)) hdrs.set(name, value);
    const data = toBinary(contract.schema, create(contract.schema, init));
    return client.js.publish(`${contract.subject}.${id}`, data, { headers: hdrs, timeout: 3_000 });
  };
  const start = (
    handlers: readonly AnyHandler[],
    options: Partial<ProcessorOptions> & { through?: Client } = {},
  ): Processor => {
    const { through = client, ...rest } = options;
    const processor = new Processor(through.connection, through.js, ledger, {
      service: "test",
      consumers: [{ stream: "INBOX", name: "test" }],
      handlers,
      log: silent,
      onDelivery: (delivery) => deliveries.push(delivery),
      ...rest,
    });
    closing.defer(() => processor.shutdown({ graceMs: 0 }));
    return processor;
  };
  const setAckWait = (ms: number) => client.jsm.consumers.update("INBOX", "test", { ack_wait: nanos(ms) });
  /** Waits until everything that was sent is acknowledged. */
  const handled = () =>
    until("all messages to be acknowledged", () => drained(client.jsm, "INBOX", "test"), {
      timeoutMs: 25_000,
    });
  const deadLetters = async () => {
    const { state } = await client.jsm.streams.info("DEAD_LETTER");
    const found = await Promise.all(
      range(state.last_seq).map((seq) => client.jsm.streams.getMessage("DEAD_LETTER", { seq })),
    );
    return found.filter((stored) => stored !== null);
  };

  it("takes a message, stores what its handler decides, and acknowledges it", async () => {
    await send(add, "a", { orderId: "a-1" });
    const processor = start([adding]);
    await handled();
    expect(await countsOf(client.jsm, "a")).toEqual([1]);
    expect(deliveries).toMatchObject([{ subject: "inbox.add", outcome: "done", redelivered: false }]);
    expect(processor.ready).toBe(true);
    await processor.shutdown();
    expect(processor.ready).toBe(false);
  });

  it("guesses what a message begins at its first delivery, and never again", async () => {
    const guesses: (readonly string[] | undefined)[] = [];
    const execute = ledger.execute.bind(ledger);
    ledger.execute = (task, options) => {
      guesses.push(task.begins);
      return execute(task, options);
    };
    let tries = 0;
    const beginning: Handler<Command> = {
      ...adding,
      begins: (_, id) => [key(counter, id)],
      decide(...args) {
        tries += 1;
        if (tries === 1) throw new Error("not this time");
        return adding.decide(...args);
      },
    };
    start([beginning]);
    await send(add, "guess", { orderId: "guess-1" });
    await handled();
    expect(await countsOf(client.jsm, "guess")).toEqual([1]);
    expect(guesses).toEqual([["test.counter.guess"], []]);
  });

  it("decides on messages of one key in the order of the stream", async () => {
    await Promise.all(range(300).map((n) => send(add, "a", { orderId: `a-${n}` })));
    const order: string[] = [];
    const watching: Handler<Command> = {
      ...adding,
      decide(view, command, delivery) {
        const outcome = adding.decide(view, command, delivery);
        if (outcome.kind === "done" && outcome.messages.length > 0) order.push(command.orderId);
        return outcome;
      },
    };
    start([watching]);
    await handled();
    const sent: string[] = [];
    for (const seq of range(300)) {
      const stored = await client.jsm.streams.getMessage("INBOX", { seq });
      sent.push(new TextDecoder().decode(stored?.data.subarray(2)));
    }
    expect(order).toEqual(sent);
  });

  it("tells the handler when the message was stored, how often it came and what time it is", async () => {
    const seen: unknown[] = [];
    const now = new Date("2030-01-01T00:00:00Z");
    const before = Date.now();
    await send(add, "a", { orderId: "a-1" });
    const watching: Handler<Command> = {
      ...adding,
      decide(view, command, delivery) {
        seen.push(delivery.now, delivery.attempt);
        expect(Math.abs(delivery.storedAt.getTime() - before)).toBeLessThan(2_000);
        return adding.decide(view, command, delivery);
      },
    };
    start([watching], { now: () => now });
    await handled();
    expect(seen).toEqual([now, 1]);
  });

  it("redelivery_storm: has one effect of each command, and the backlog drains", async () => {
    await using proxy = await startProxy(server.url);
    await setAckWait(300);
    // Every acknowledgement is lost for as long as it takes to deliver everything three times.
    proxy.judge(({ from, text }) => (from === "client" && text.includes("PUB $JS.ACK.") ? "drop" : "pass"));
    start([adding], { through: await proxy.connect() });
    await Promise.all(range(200).flatMap((n) => [1, 2].map(() => send(add, "a", { orderId: `a-${n}` }))));
    await until("three deliveries of each", () => deliveries.length >= 3 * 400);
    proxy.release();
    await handled();
    expect(await countsOf(client.jsm, "a")).toEqual(range(200));
    expect(await deadLetters()).toEqual([]);
  });

  it("consumer_reset: replays everything after the consumer was made anew, and changes nothing", async () => {
    await Promise.all(range(200).map((n) => send(add, "a", { orderId: `a-${n}` })));
    start([adding]);
    await handled();
    const before = (await client.jsm.streams.info("TEST")).state.last_seq;
    deliveries.length = 0;
    const [spec] = testTopology.consumers;
    if (spec === undefined) throw new Error("no consumer");
    await client.jsm.consumers.delete("INBOX", "test");
    await client.jsm.consumers.add("INBOX", consumerConfig(spec));
    await until("the replay", () => deliveries.length >= 200);
    await handled();
    expect((await client.jsm.streams.info("TEST")).state.last_seq).toBe(before);
  });

  describe("retry", () => {
    const retrying = (times: number, then: () => void = () => undefined): Handler<Command> => ({
      ...adding,
      decide(view, command, delivery) {
        if (delivery.attempt <= times) return { kind: "retry", delayMs: 20, reason: "not yet" };
        if (delivery.attempt === times + 1) then();
        return adding.decide(view, command, delivery);
      },
    });

    it("leaves the message until the delay is over, for as long as it takes", async () => {
      await send(add, "a", { orderId: "a-1" });
      start([retrying(7)]);
      await handled();
      expect(deliveries.map(({ outcome }) => outcome)).toEqual([...range(7).map(() => "retry"), "done"]);
      expect(await countsOf(client.jsm, "a")).toEqual([1]);
    });

    it("does not count towards giving up a message whose handler throws", async () => {
      await send(add, "a", { orderId: "a-1" });
      const failing = () => {
        throw new Error("once");
      };
      start([retrying(7, failing)]);
      await handled();
      expect(deliveries.map(({ outcome }) => outcome).slice(7)).toEqual(["error", "done"]);
      expect(await deadLetters()).toEqual([]);
    });
  });

  describe("poison", () => {
    it("is parked with all that is known of it after its handler threw five times", async () => {
      const throwing: Handler<Command> = {
        ...adding,
        decide() {
          throw new Error("cannot\nadd");
        },
      };
      await send(add, "a", { orderId: "a-1" }, { "x-mine": "1", "Nats-Msg-Id": "m1" });
      start([throwing]);
      await handled();
      expect(deliveries.map(({ outcome }) => outcome)).toEqual(["error", "error", "error", "error", "dead"]);
      const [parked, ...more] = await deadLetters();
      expect(more).toEqual([]);
      expect(parked?.subject).toBe("dead_letter.test.test.INBOX.1");
      expect(parked?.data).toEqual(toBinary(add.schema, create(add.schema, { orderId: "a-1" })));
      const fields = Object.fromEntries([...(parked?.header ?? [])].map(([name, [value]]) => [name, value]));
      expect(fields).toMatchObject({
        "x-mine": "1",
        "dead-letter-service": "test",
        "dead-letter-consumer": "test",
        "dead-letter-stream": "INBOX",
        "dead-letter-sequence": "1",
        "dead-letter-subject": "inbox.add.a",
        "dead-letter-type": "inbox.add",
        "dead-letter-deliveries": "5",
        "dead-letter-time": expect.stringMatching(/^\d{4}-/),
        "dead-letter-error": "cannot add",
      });
      expect(fields).not.toHaveProperty("Nats-Msg-Id");
    });

    it("is not what a message is that NATS could not be asked about, however often", async () => {
      // As many throws as make a dead letter of another message.
      let left = 6;
      const asking = acting(async () => {
        left -= 1;
        if (left === 5) throw new errors.NoRespondersError("$JS.API.INFO");
        if (left > 0) {
          throw new JetStreamApiError({ code: 503, err_code: 10008, description: "temporarily unavailable" });
        }
      });
      await send(act, "a", { orderId: "a-1" });
      start([asking]);
      await handled();
      expect(left).toBe(0);
      expect(await deadLetters()).toEqual([]);
    });

    it("is parked at once when it cannot be decoded or has no handler, and the others flow on", async () => {
      await client.js.publish("inbox.add.a", new Uint8Array([255]));
      await send(other, "a", {});
      await send(add, "a", { orderId: "a-1" });
      start([adding]);
      await handled();
      const errors = (await deadLetters()).map((parked) => parked.header.get("dead-letter-error"));
      expect(errors.sort()).toEqual([
        expect.stringMatching(/^cannot be decoded as shop.order.v1.IdempotencyKey/),
        "no handler for inbox.other",
      ]);
      expect(deliveries.map(({ outcome }) => outcome).sort()).toEqual(["dead", "dead", "done"]);
      expect(await countsOf(client.jsm, "a")).toEqual([1]);
    });

    it.each(["decoded", "handled"])("is let go when it is a hint that cannot be %s", async (what) => {
      const hint = { ...add, hint: true };
      const throwing: Handler<Command> = {
        ...adding,
        contract: hint,
        decide() {
          throw new Error("cannot add");
        },
      };
      if (what === "decoded") await client.js.publish("inbox.add.a", new Uint8Array([255]));
      else await send(add, "a", { orderId: "a-1" });
      start([throwing]);
      await handled();
      expect(deliveries.at(-1)?.outcome).toBe("dropped");
      expect(await deadLetters()).toEqual([]);
    });

    it("is parked at once when the handler says so", async () => {
      await send(add, "a", { orderId: "a-1" });
      start([{ ...adding, decide: () => ({ kind: "dead", reason: "absurd" }) } satisfies Handler<Command>]);
      await handled();
      expect((await deadLetters()).map((parked) => parked.header.get("dead-letter-error"))).toEqual([
        "absurd",
      ]);
    });

    it("is not acknowledged before it is parked, however long that takes", async () => {
      await client.jsm.streams.delete("DEAD_LETTER");
      await send(other, "a", {});
      const refusals: string[] = [];
      const log = { ...silent, error: (_: object, text: string) => void refusals.push(text) };
      start([adding], { log });
      await until("it to be tried again", () => deliveries.length >= 2, { timeoutMs: 20_000 });
      expect(deliveries.map(({ outcome }) => outcome)).not.toContain("dead");
      expect(new Set(refusals)).toEqual(new Set(["cannot park a dead letter, trying again"]));
      expect(await drained(client.jsm, "INBOX", "test")).toBe(false);
      await applyTopology({ servers: server.url, topology: testTopology });
      await handled();
      expect(await deadLetters()).toHaveLength(1);
      expect(deliveries.at(-1)?.outcome).toBe("dead");
    });

    it("that was redriven is not acknowledged before it is parked again or marked as handled", async () => {
      const topology = {
        ...testTopology,
        consumers: withDeadLetters(testTopology.consumers),
      };
      await applyTopology({ servers: server.url, topology });
      await send(other, "a", { orderId: "a-1" });
      const consumers = [
        { stream: "INBOX", name: "test" },
        { stream: "DEAD_LETTER", name: "test" },
      ];
      await using first = start([adding], { consumers });
      await handled();
      await first.shutdown();
      await redriveDeadLetter(client, "test.test.INBOX.1", { by: "eve", force: true });
      // The server stores nothing in the stream of letters any more.
      await client.jsm.streams.update("DEAD_LETTER", { max_msgs: 2, discard: DiscardPolicy.New });
      deliveries = [];
      const handling = { ...adding, contract: other, decide: () => ({ kind: "done", messages: [] }) };
      start([handling as AnyHandler], { consumers });
      await until("it to be tried again", () => deliveries.length >= 2, { timeoutMs: 20_000 });
      expect(deliveries.map(({ outcome }) => outcome)).not.toContain("done");
      await client.jsm.streams.update("DEAD_LETTER", { max_msgs: -1 });
      const isMarked = async () =>
        (await findDeadLetter(client.jsm, "test.test.INBOX.1"))?.status === "handled";
      await until("it to be marked", isMarked, { timeoutMs: 30_000 });
    });

    it("is parked once though it is delivered again", async () => {
      await using proxy = await startProxy(server.url);
      await setAckWait(200);
      proxy.judge(({ from, text }) => (from === "client" && text.includes("PUB $JS.ACK.") ? "drop" : "pass"));
      await send(other, "a", {});
      start([adding], { through: await proxy.connect() });
      await until("two deliveries", () => deliveries.length >= 2);
      proxy.release();
      await handled();
      expect(await deadLetters()).toHaveLength(1);
    });

    it("is not made of a message because the ledger is busy or closing", async () => {
      const { ledger: closed } = openLedger(client);
      await closed.shutdown();
      await send(add, "a", { orderId: "a-1" });
      const outcomes: string[] = [];
      const processor = new Processor(client.connection, client.js, closed, {
        service: "test",
        consumers: [{ stream: "INBOX", name: "test" }],
        handlers: [adding],
        log: silent,
        onDelivery: ({ outcome }) => outcomes.push(outcome),
      });
      closing.defer(() => processor.shutdown({ graceMs: 0 }));
      await until("five deliveries", () => outcomes.length >= 5);
      expect(new Set(outcomes)).toEqual(new Set(["error"]));
      expect(await deadLetters()).toEqual([]);
    });
  });

  describe("effects", () => {
    it("are performed between two commits", async () => {
      const performed: unknown[] = [];
      await send(act, "a", { orderId: "a" });
      start([
        acting(async (id, { attempt }) => {
          performed.push([id, attempt, await countsOf(client.jsm, id)]);
        }),
      ]);
      await handled();
      expect(performed).toEqual([["a", 1, [1]]]);
      expect(await countsOf(client.jsm, "a")).toEqual([1, 2]);
    });

    it("are performed again by whoever comes next when the process stops in the middle", async () => {
      await send(act, "a", { orderId: "a" });
      const begun = Promise.withResolvers<AbortSignal>();
      const first = start([
        acting((_, { signal }) => {
          begun.resolve(signal);
          return new Promise(() => undefined);
        }),
      ]);
      const signal = await begun.promise;
      await first.shutdown({ graceMs: 0 });
      expect(signal.aborted).toBe(true);
      const again: number[] = [];
      start([acting(async (_, { attempt }) => again.push(attempt))]);
      // Much sooner than `ack_wait`, which is 10 s.
      await handled();
      expect(again).toEqual([2]);
      expect(await countsOf(client.jsm, "a")).toEqual([1, 2]);
    });

    it("may finish while the processor stops", async () => {
      await send(act, "a", { orderId: "a" });
      const begun = Promise.withResolvers<AbortSignal>();
      const finish = Promise.withResolvers<void>();
      const processor = start([
        acting((_, { signal }) => {
          begun.resolve(signal);
          return finish.promise;
        }),
      ]);
      const signal = await begun.promise;
      const stopped = processor.shutdown();
      expect(signal.aborted).toBe(false);
      finish.resolve();
      await stopped;
      await handled();
      expect(await countsOf(client.jsm, "a")).toEqual([1, 2]);
    });

    it("of one id never overlap, and those of several do", async () => {
      const running = new Map<string, number>();
      let together = 0;
      let overlaps = 0;
      const effect = async (id: string) => {
        const [entity = ""] = id.split("-");
        overlaps += running.get(entity) ?? 0;
        running.set(entity, (running.get(entity) ?? 0) + 1);
        together = Math.max(together, running.size);
        await sleep(5);
        running.delete(entity);
      };
      await Promise.all(
        range(10).flatMap((n) => ["a", "b", "c"].map((id) => send(act, id, { orderId: `${id}-${n}` }))),
      );
      start([acting(effect)]);
      await handled();
      expect(overlaps).toBe(0);
      expect(together).toBe(3);
    });

    it("keep their message for as long as they take", async () => {
      await setAckWait(400);
      await send(act, "a", { orderId: "a" });
      start([acting(() => sleep(1_200))], { workingEveryMs: 100 });
      await handled();
      expect(deliveries.map(({ outcome }) => outcome)).toEqual(["done"]);
    });
  });

  it("server_restart: goes on, and misses nothing", async () => {
    // What was delivered and not acknowledged when the server died is delivered again after this.
    await setAckWait(1_000);
    start([adding]);
    for (const n of range(50)) await send(add, "a", { orderId: `a-${n}` });
    await until("the first", () => deliveries.length > 0);
    await server.restart();
    for (const n of range(50)) {
      const { orderId } = { orderId: `a-${n + 50}` };
      await until("the server", () => send(add, "a", { orderId }).catch(() => undefined));
    }
    await handled();
    expect(await countsOf(client.jsm, "a")).toEqual(range(100));
  });

  it("gives what it has not finished to another at once when it shuts down", async () => {
    await Promise.all(range(300).map((n) => send(act, `i${n}`, { orderId: `i${n}` })));
    const first = start([acting(() => new Promise(() => undefined))]);
    await until(
      "some to be under way",
      async () => (await client.jsm.consumers.info("INBOX", "test")).num_ack_pending > 100,
    );
    await first.shutdown({ graceMs: 0 });
    start([acting(async () => undefined)]);
    await handled();
    const done: string[] = [];
    for await (const { id, value } of viewAll(client.jsm, "TEST", counter)) {
      if (value.available === 2n) done.push(id);
    }
    expect(done.sort()).toEqual(
      range(300)
        .map((n) => `i${n}`)
        .sort(),
    );
  });

  it("loses no delivery that is on its way while it shuts down", async () => {
    await setAckWait(60_000);
    // Each is synced to the disk: all at once, the last ones would wait longer than a publish may.
    for (const hundred of range(50)) {
      await Promise.all(range(100).map((n) => send(add, "a", { orderId: `a-${100 * hundred + n}` })));
    }
    for (const round of range(5)) {
      const processor = start([adding]);
      await until("some deliveries", () => deliveries.length > round * 100);
      await processor.shutdown();
    }
    start([adding]);
    // Much sooner than `ack_wait`.
    await handled();
    expect((await countsOf(client.jsm, "a")).at(-1)).toBe(5_000);
  });

  it("passes the trace on, says what CloudEvents want, and copies no Nats-* header", async () => {
    const trace = traceFrom("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", undefined);
    await send(
      add,
      "a",
      { orderId: "a-1" },
      { ...trace, tracestate: "vendor=1", "Nats-Msg-Id": "m1", "x-mine": "1" },
    );
    start([adding]);
    await handled();
    const stored = await client.jsm.streams.getMessage("TEST", { last_by_subj: "test.note.a-1" });
    const fields = Object.fromEntries([...(stored?.header ?? [])].map(([name, [value]]) => [name, value]));
    const { traceparent, ...rest } = fields;
    // Nobody records here: what comes next is a child of whoever did last.
    expect(traceparent).toBe(trace.traceparent);
    expect(rest).toMatchObject({
      tracestate: "vendor=1",
      "ce-specversion": "1.0",
      "ce-source": "/services/test",
      "ce-type": "shop.order.v1.IdempotencyKey",
      "ce-subject": "a-1",
      "content-type": "application/protobuf",
    });
    expect(rest).not.toHaveProperty("Nats-Msg-Id");
    expect(rest).not.toHaveProperty("x-mine");
  });
});
