import { create, toBinary } from "@bufbuild/protobuf";
import { nanos } from "@nats-io/transport-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, silent, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { commit, newHeaders } from "./commit.ts";
import { key, message } from "./contracts/mod.ts";
import { discardDeadLetter, redriveDeadLetter } from "./dead_letters.ts";
import type { AnyHandler, Handler } from "./handler.ts";
import { Processor } from "./processor.ts";
import { REPLAY_PAUSE_MS, type ReplayStep, replay } from "./replay.ts";
import { type ReplayMark, readReplayMark, writeReplayMark } from "./replay_mark.ts";
import { planReplay, type ReplayFrom, totalOf } from "./replay_plan.ts";
import { act, add, counter, countsOf, openLedger, testTopology } from "./testing.ts";
import { REPLAYS, type Topology, withDeadLetters } from "./topology.ts";

const [inbox] = testTopology.consumers;
if (inbox === undefined) throw new Error("no consumer");
const topology: Topology = {
  ...testTopology,
  buckets: [{ name: REPLAYS, owner: undefined, description: "Marks" }],
  consumers: withDeadLetters([{ ...inbox, effects: "acts" }]),
};
const consumer = { stream: "INBOX", name: "test" };
const letters = { stream: "DEAD_LETTER", name: "test" };
const never = new AbortController().signal;

describe("a replay", { timeout: 60_000 }, () => {
  let server: NatsServer;
  let client: Client;
  let closing: AsyncDisposableStack;
  let deliveries: { subject: string; outcome: string }[];
  let acted: string[];

  beforeEach(async () => {
    closing = new AsyncDisposableStack();
    server = closing.use(await startNats());
    await applyTopology({ servers: server.url, topology });
    client = await server.connect();
    deliveries = [];
    acted = [];
  });
  afterEach(() => closing.disposeAsync());

  /** An effect outside the ledger, whose state says afterwards that it was had. */
  const acting = (
    perform = async (_id: string, _attempt: number) => undefined,
  ): Handler<typeof act.schema, string, unknown> => ({
    contract: act,
    keys: ({ orderId }) => [key(counter, orderId)],
    decide: (view, { orderId }) =>
      view.get(counter, orderId) === undefined
        ? { kind: "perform", messages: [], effect: orderId }
        : { kind: "done", messages: [] },
    async perform(id, { attempt }) {
      acted.push(id);
      await perform(id, attempt);
    },
    conclude: (view, { orderId }) => ({
      kind: "done",
      messages:
        view.get(counter, orderId) === undefined ? [message(counter, orderId, { available: 1n })] : [],
    }),
  });
  const send = (contract: typeof act, id: string) =>
    client.js.publish(`${contract.subject}.${id}`, toBinary(act.schema, create(act.schema, { orderId: id })));
  const start = (
    handlers: readonly AnyHandler[],
    { effects }: { effects?: string } = { effects: "acts" },
  ) => {
    const { ledger } = openLedger(client);
    const processor = new Processor(client.connection, client.js, ledger, {
      service: "test",
      consumers: [
        { ...consumer, effects },
        { ...letters, effects: "redriven messages" },
      ],
      handlers,
      log: silent,
      onDelivery: (delivery) => deliveries.push(delivery),
    });
    closing.defer(() => ledger.shutdown({ graceMs: 0 }));
    closing.defer(() => processor.shutdown({ graceMs: 0 }));
    return processor;
  };
  const infoOf = ({ stream, name } = consumer) => client.jsm.consumers.info(stream, name);
  const drained = () =>
    until(
      "all messages to be acknowledged",
      async () => {
        const infos = await Promise.all([infoOf(), infoOf(letters)]);
        return infos.every((info) => info.num_pending + info.num_ack_pending === 0);
      },
      { timeoutMs: 25_000 },
    );
  const outcomes = () => deliveries.map(({ outcome }) => outcome).sort();
  const plan = (from: ReplayFrom = { kind: "start" }, stream = "INBOX") => {
    const spec = topology.consumers.find((it) => it.stream === stream);
    if (spec === undefined) throw new Error("no consumer");
    return planReplay(client, spec, { from });
  };
  const markOf = async (changes: Partial<ReplayMark> = {}): Promise<ReplayMark> => {
    const { state } = await client.jsm.streams.info("INBOX");
    const stored_until = new Date(Date.parse(state.last_ts) + 1).toISOString();
    const { ack_floor, delivered } = await infoOf();
    return {
      up_to: ack_floor.stream_seq,
      delivered: delivered.stream_seq,
      stored_until,
      parked: [],
      from: 1,
      by: "test",
      at: stored_until,
      ...changes,
    };
  };
  const write = async (mark: ReplayMark) => {
    const { seq: expect } = await readReplayMark(client.connection, consumer);
    return writeReplayMark(client.connection, consumer, { mark, expect });
  };
  /** What the state has kept of an effect, gone: as if it had expired. */
  const forget = (id: string) => client.jsm.streams.purge("TEST", { filter: `test.counter.${id}` });

  describe("on the server", () => {
    it("is a reset: everything from a sequence on is out again, counted from 1, whatever was under way", async () => {
      for (const id of ["1", "2", "3", "4"]) await send(act, id);
      await client.js.publish("inbox.unread.5", "");
      const pulls = await client.js.consumers.get("INBOX", "test");
      const before = [];
      for await (const msg of await pulls.fetch({ max_messages: 4, expires: 1_000 })) before.push(msg);
      before[0]?.ack();
      before[2]?.ack();
      await until("the floor", async () => (await infoOf()).ack_floor.stream_seq === 1);
      await client.jsm.consumers.reset("INBOX", "test", 1);
      expect(await infoOf()).toMatchObject({
        delivered: { consumer_seq: 0, stream_seq: 0 },
        ack_floor: { consumer_seq: 0, stream_seq: 0 },
        num_ack_pending: 0,
        num_pending: 4,
      });
      const again = [];
      for await (const msg of await pulls.fetch({ max_messages: 2, expires: 1_000 })) again.push(msg);
      expect(again.map(({ seq, info }) => [seq, info.deliveryCount, info.deliverySequence])).toEqual([
        [1, 1, 1],
        [2, 1, 2],
      ]);
      // A late acknowledgement settles the delivery that is out now, and none that is not.
      before[1]?.ack();
      before[3]?.ack();
      await until("the late one", async () => (await infoOf()).num_ack_pending === 1);
      expect(await infoOf()).toMatchObject({ delivered: { stream_seq: 2 }, num_pending: 2 });
    });

    it("reaches a pull that is open, and not before a pause is over, which outlives the server", async () => {
      await send(act, "1");
      await client.jsm.consumers.update("INBOX", "test", { ack_wait: nanos(300) });
      const pulls = await client.js.consumers.get("INBOX", "test");
      const first = await pulls.next({ expires: 1_000 });
      await client.jsm.consumers.pause("INBOX", "test", new Date(Date.now() + 60_000));
      // Neither what waited for too long nor what was given back comes while it is paused; acknowledgements are taken.
      const pull = async () => {
        for await (const msg of await pulls.fetch({ max_messages: 10, expires: 5_000 })) return msg;
        return undefined;
      };
      const pulled = pull();
      await until("the pull", async () => (await infoOf()).num_waiting === 1);
      await until("ack_wait to be over", async () => {
        const { delivered, ts } = (await infoOf()) as unknown as {
          delivered: { last_active: string };
          ts: string;
        };
        return Date.parse(ts) - Date.parse(delivered.last_active) > 1_000;
      });
      expect(await infoOf()).toMatchObject({ num_redelivered: 0, num_ack_pending: 1, paused: true });
      first?.ack();
      await until("the acknowledgement", async () => (await infoOf()).ack_floor.stream_seq === 1);
      await client.jsm.consumers.reset("INBOX", "test", 1);
      expect(await infoOf()).toMatchObject({ num_waiting: 1, num_pending: 1, paused: true });
      await client.jsm.consumers.resume("INBOX", "test");
      expect((await pulled)?.seq).toBe(1);
      await client.jsm.consumers.pause("INBOX", "test", new Date(Date.now() + 60_000));
      await server.restart();
      const paused = await until("the server", async () => (await infoOf().catch(() => undefined))?.paused);
      expect(paused).toBe(true);
    });
  });

  describe("by its mark", () => {
    it("has no effect, though the state that would tell is gone, and without the mark it would", async () => {
      for (const id of ["a", "b", "c"]) await send(act, id);
      const first = start([acting()]);
      await drained();
      expect(acted.sort()).toEqual(["a", "b", "c"]);
      await first.shutdown();
      await forget("a");

      // What is marked is acknowledged; what is not is a message like any other.
      await write(await markOf());
      await client.jsm.consumers.reset("INBOX", "test", 1);
      acted = [];
      deliveries = [];
      const second = start([acting()]);
      await send(act, "d");
      await drained();
      expect(outcomes()).toEqual(["done", "replayed", "replayed", "replayed"]);
      expect(acted).toEqual(["d"]);
      await second.shutdown();

      await client.jsm.streams.purge("KV_REPLAYS");
      await client.jsm.consumers.reset("INBOX", "test", 1);
      acted = [];
      start([acting()]);
      await drained();
      expect(acted).toEqual(["a"]);
    });

    it("is handled where there is no effect, and says that it is one and was tried before", async () => {
      await send(act, "a");
      const seen: unknown[] = [];
      const watching: Handler<typeof act.schema> = {
        contract: act,
        keys: ({ orderId }) => [key(counter, orderId)],
        decide(_, { orderId }, { replayed, attempt }) {
          seen.push([orderId, replayed, attempt]);
          return { kind: "done", messages: [] };
        },
      };
      await start([watching], {}).shutdown();
      const first = start([watching], {});
      await drained();
      await first.shutdown();
      await write(await markOf());
      await client.jsm.consumers.reset("INBOX", "test", 1);
      start([watching], {});
      await send(act, "b");
      await drained();
      expect(seen).toEqual([
        ["a", false, 1],
        ["a", true, 2],
        ["b", false, 1],
      ]);
    });

    it("is none in a stream that was made anew, whose sequences are other messages", async () => {
      await send(act, "a");
      const first = start([acting()]);
      await drained();
      await first.shutdown();
      await write(await markOf({ up_to: 1_000, delivered: 1_000 }));
      await client.jsm.streams.delete("INBOX");
      await applyTopology({ servers: server.url, topology });
      await send(act, "b");
      start([acting()]);
      await drained();
      expect(acted).toEqual(["a", "b"]);
    });

    it("waits while nobody can tell: a mark that is no mark, or was not written by the operator", async () => {
      await send(act, "a");
      for (const [data, forged] of [
        ["nonsense", false],
        [JSON.stringify(await markOf()), true],
      ] as const) {
        const headers = newHeaders();
        if (forged) headers.set("Nats-Stream", "TEST");
        const entry = { subject: "$KV.REPLAYS.INBOX.test", data: Buffer.from(data), headers };
        expect(await commit(client.connection, "KV_REPLAYS", [entry])).toMatchObject({ kind: "committed" });
        deliveries = [];
        const processor = start([acting()]);
        await until("two deliveries", () => deliveries.length >= 2);
        expect(new Set(outcomes())).toEqual(new Set(["error"]));
        await processor.shutdown();
      }
      await write(await markOf({ up_to: 0 })).catch(() => undefined);
      await client.jsm.streams.purge("KV_REPLAYS");
      start([acting()]);
      await drained();
      expect(acted).toEqual(["a"]);
    });
  });

  describe("by replay()", () => {
    it("reaches a processor that runs: what was handled is skipped, what is under way is not", async () => {
      const held = Promise.withResolvers<void>();
      const attempts: [string, number][] = [];
      const perform = async (id: string, attempt: number) => {
        attempts.push([id, attempt]);
        if (id === "c" && attempt === 1) await held.promise;
        return undefined;
      };
      start([acting(perform)]);
      for (const id of ["a", "b", "c", "d"]) await send(act, id);
      await until("d to be done", () => deliveries.length === 3);
      await forget("a");
      const steps: ReplayStep[] = [];
      const wanted = await plan();
      expect(wanted).toMatchObject({ from: 1, upTo: 2, last: 4 });
      expect([...wanted.messages]).toEqual([["inbox.act", 2]]);
      deliveries = [];
      const outcome = await replay(client, [wanted], {
        by: "eve",
        signal: never,
        onStep: (step) => steps.push(step),
      });
      expect(outcome).toEqual({
        kind: "replayed",
        consumers: [{ ...consumer, from: 1, upTo: 2, underWay: 1 }],
      });
      const { mark } = await readReplayMark(client.connection, consumer);
      expect(mark).toMatchObject({ up_to: 2, delivered: 4, from: 1, by: "eve", parked: [] });
      expect([...new Set(steps.map(({ kind }) => kind))]).toEqual([
        "paused",
        "under way",
        "marked",
        "waiting",
        "reset",
        "resumed",
      ]);
      held.resolve();
      await drained();
      // c was tried before, which the server has forgotten; its first attempt goes on in its turn.
      expect(attempts.filter(([id]) => id !== "c")).toEqual([
        ["a", 1],
        ["b", 1],
        ["d", 1],
      ]);
      expect(await countsOf(client.jsm, "c")).toEqual([1]);
      expect(outcomes().filter((outcome) => outcome === "replayed")).toHaveLength(2);
      expect((await infoOf()).paused).toBeFalsy();
    });

    it("leaves what was parked to its dead letter, be it discarded, and repeats no redrive", async () => {
      const broken = new Set(["a", "b"]);
      const failing: Handler<typeof act.schema> = {
        contract: act,
        keys: ({ orderId }) => [key(counter, orderId)],
        decide: (view, { orderId }) => {
          if (broken.has(orderId)) return { kind: "dead", reason: "broken" };
          acted.push(orderId);
          const there = view.get(counter, orderId) !== undefined;
          return { kind: "done", messages: there ? [] : [message(counter, orderId, { available: 1n })] };
        },
      };
      for (const id of ["a", "b", "c"]) await send(act, id);
      start([failing], {});
      await drained();
      // a comes back, fails again, and is discarded; b is mended, comes back, and is handled.
      await redriveDeadLetter(client, "test.test.INBOX.1", { by: "eve", dryRun: false, force: true });
      await drained();
      await discardDeadLetter(client, "test.test.INBOX.1", { by: "eve", reason: "a test order" });
      broken.clear();
      await redriveDeadLetter(client, "test.test.INBOX.2", { by: "eve", dryRun: false, force: true });
      await drained();
      expect(acted.sort()).toEqual(["b", "c"]);
      const stored = (await client.jsm.streams.info("DEAD_LETTER")).state.last_seq;
      acted = [];
      deliveries = [];
      const plans = [await plan(), await plan({ kind: "start" }, "DEAD_LETTER")];
      expect(await replay(client, plans, { by: "eve", signal: never })).toMatchObject({ kind: "replayed" });
      await until("the replay", () => deliveries.length >= 5);
      await drained();
      // Decided again: b, whose letter was handled, and c. Redriven twice, and neither is handled for it.
      expect(acted.sort()).toEqual(["b", "c"]);
      expect(outcomes()).toEqual(["done", "done", "replayed", "replayed", "replayed"]);
      expect((await readReplayMark(client.connection, consumer)).mark?.parked).toEqual([1]);
      expect((await client.jsm.streams.info("DEAD_LETTER")).state.last_seq).toBe(stored);
    });

    it("is refused while another one goes on, and one of two that begin together goes through", async () => {
      for (const id of ["a", "b"]) await send(act, id);
      start([acting()]);
      await drained();
      const wanted = await plan();
      const both = [1, 2].map((n) => replay(client, [wanted], { by: `eve ${n}`, signal: never }));
      await until("the pause", async () => (await infoOf()).paused);
      await expect(replay(client, [wanted], { by: "late", signal: never })).rejects.toThrow(
        "it is paused until",
      );
      const ended = await Promise.allSettled(both);
      expect(ended.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      expect(ended.find((it) => it.status === "rejected")?.reason).toMatchObject({ name: "ReplayError" });
      await drained();
      expect(acted.sort()).toEqual(["a", "b"]);
      expect((await infoOf()).paused).toBeFalsy();
    });

    it("ends without a reset when it is interrupted, and the consumer goes on", async () => {
      await send(act, "a");
      start([acting()]);
      await drained();
      const interrupt = new AbortController();
      const onStep = ({ kind }: ReplayStep) => kind === "waiting" && interrupt.abort();
      const { signal } = interrupt;
      expect(await replay(client, [await plan()], { by: "eve", signal, onStep })).toEqual({
        kind: "interrupted",
      });
      expect(await infoOf()).toMatchObject({ ack_floor: { stream_seq: 1 }, num_pending: 0 });
      expect((await infoOf()).paused).toBeFalsy();
      await send(act, "b");
      await until("b", () => deliveries.length === 2);
      expect(acted).toEqual(["a", "b"]);
      expect(outcomes()).toEqual(["done", "done"]);
    });

    it("never takes back an earlier one's mark, and pauses for a minute at most by the server's clock", async () => {
      for (const id of ["a", "b", "c"]) await send(act, id);
      start([acting()]);
      await drained();
      await write(await markOf({ up_to: 900, delivered: 950 }));
      let remaining = 0;
      const onStep = async ({ kind }: ReplayStep) => {
        if (kind !== "paused") return;
        remaining = ((await infoOf()) as unknown as { pause_remaining: number }).pause_remaining / 1e6;
      };
      await replay(client, [await plan({ kind: "sequence", seq: 2 })], { by: "eve", signal: never, onStep });
      const { mark } = await readReplayMark(client.connection, consumer);
      expect(mark).toMatchObject({ up_to: 900, delivered: 950, from: 2 });
      expect(remaining).toBeGreaterThan(REPLAY_PAUSE_MS / 2);
      expect(remaining).toBeLessThanOrEqual(REPLAY_PAUSE_MS);
    });
  });

  describe("as planReplay() sees it", () => {
    it("counts by subject from a sequence or a time on, and nothing that is still to be handled", async () => {
      for (const id of ["a", "b"]) await send(act, id);
      await send(add, "c");
      start([acting(), { ...acting(), contract: add }]);
      await drained();
      await until(
        "a later millisecond",
        async () => Date.now() > Date.parse((await client.jsm.streams.info("INBOX")).state.last_ts) + 2,
      );
      const time = new Date();
      await send(act, "d");
      await drained();
      const counts = async (from: ReplayFrom) => Object.fromEntries((await plan(from)).messages);
      expect(await counts({ kind: "start" })).toEqual({ "inbox.act": 3, "inbox.add": 1 });
      expect(await counts({ kind: "sequence", seq: 2 })).toEqual({ "inbox.act": 2, "inbox.add": 1 });
      expect(await counts({ kind: "time", time })).toEqual({ "inbox.act": 1 });
      expect((await plan({ kind: "time", time })).from).toBe(4);
      expect(totalOf(await plan({ kind: "time", time: new Date(Date.now() + 60_000) }))).toBe(0);
      await expect(plan({ kind: "sequence", seq: 5 })).rejects.toThrow(
        "Cannot replay INBOX/test from 5: the last message of INBOX is 4",
      );
      await client.jsm.consumers.delete("INBOX", "test");
      await expect(plan()).rejects.toThrow("Cannot replay INBOX/test: the server has no such consumer");
    });
  });
});
