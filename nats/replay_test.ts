import { nanos } from "@nats-io/transport-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../test/support/mod.ts";
import { key, message } from "./contracts/mod.ts";
import { discardDeadLetter, redriveDeadLetter } from "./dead_letters.ts";
import type { Handler } from "./handler.ts";
import { REPLAY_PAUSE_MS, REPLAY_WAIT_MS, type ReplayStep, replay } from "./replay.ts";
import { readReplayMark } from "./replay_mark.ts";
import { consumer, openReplayWorld, type ReplayWorld, times } from "./replay_testing.ts";
import { MARK_TRUST_MS } from "./replays.ts";
import { act, counter, countsOf } from "./testing.ts";

const never = new AbortController().signal;

describe("a replay", { timeout: 60_000 }, () => {
  let world: ReplayWorld;
  beforeEach(async () => {
    world = await openReplayWorld();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  describe("on the server", () => {
    it("is a reset: everything from a sequence on is out again, counted from 1, whatever was under way", async () => {
      for (const id of ["1", "2", "3", "4"]) await world.send(act, id);
      await world.client.js.publish("inbox.unread.5", "");
      const pulls = await world.client.js.consumers.get("INBOX", "test");
      const before = [];
      for await (const msg of await pulls.fetch({ max_messages: 4, expires: 1_000 })) before.push(msg);
      before[0]?.ack();
      before[2]?.ack();
      await until("both acknowledgements", async () => (await world.infoOf()).num_ack_pending === 2);
      expect((await world.infoOf()).ack_floor.stream_seq).toBe(1);
      await world.client.jsm.consumers.reset("INBOX", "test", 1);
      expect(await world.infoOf()).toMatchObject({
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
      await until("the late one", async () => (await world.infoOf()).num_ack_pending === 1);
      expect(await world.infoOf()).toMatchObject({ delivered: { stream_seq: 2 }, num_pending: 2 });
    });

    it("reaches a pull that is open, and not before a pause is over, which outlives the server", async () => {
      await world.send(act, "1");
      await world.client.jsm.consumers.update("INBOX", "test", { ack_wait: nanos(300) });
      const pulls = await world.client.js.consumers.get("INBOX", "test");
      const first = await pulls.next({ expires: 1_000 });
      await world.client.jsm.consumers.pause("INBOX", "test", new Date(Date.now() + 60_000));
      // Neither what waited for too long nor what was given back comes while it is paused; acknowledgements are taken.
      const pull = async () => {
        for await (const msg of await pulls.fetch({ max_messages: 10, expires: 5_000 })) return msg;
        return undefined;
      };
      const pulled = pull();
      await until("the pull", async () => (await world.infoOf()).num_waiting === 1);
      await until("ack_wait to be over", async () => {
        const { delivered, ts } = (await world.infoOf()) as unknown as {
          delivered: { last_active: string };
          ts: string;
        };
        return Date.parse(ts) - Date.parse(delivered.last_active) > 1_000;
      });
      expect(await world.infoOf()).toMatchObject({ num_redelivered: 0, num_ack_pending: 1, paused: true });
      first?.ack();
      await until("the acknowledgement", async () => (await world.infoOf()).ack_floor.stream_seq === 1);
      await world.client.jsm.consumers.reset("INBOX", "test", 1);
      expect(await world.infoOf()).toMatchObject({ num_waiting: 1, num_pending: 1, paused: true });
      await world.client.jsm.consumers.resume("INBOX", "test");
      expect((await pulled)?.seq).toBe(1);
      await world.client.jsm.consumers.pause("INBOX", "test", new Date(Date.now() + 60_000));
      await world.server.restart();
      const paused = await until(
        "the server",
        async () => (await world.infoOf().catch(() => undefined))?.paused,
      );
      expect(paused).toBe(true);
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
      world.start([world.acting(perform)]);
      for (const id of ["a", "b", "c", "d"]) await world.send(act, id);
      await until("d to be done", () => world.deliveries.length === 3);
      await world.forget("a");
      const steps: ReplayStep[] = [];
      const wanted = await world.plan();
      expect(wanted).toMatchObject({ from: 1, upTo: 2, last: 4 });
      expect([...wanted.messages]).toEqual([["inbox.act", 2]]);
      world.deliveries = [];
      const outcome = await replay(world.client, [wanted], {
        by: "eve",
        signal: never,
        ...times,
        onStep: (step) => steps.push(step),
      });
      expect(outcome).toEqual({
        kind: "replayed",
        consumers: [{ ...consumer, from: 1, upTo: 2, underWay: 1 }],
      });
      const { mark } = await readReplayMark(world.client.connection, consumer);
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
      await world.drained();
      // c was tried before, which the server has forgotten; its first attempt goes on in its turn.
      expect(attempts.filter(([id]) => id !== "c")).toEqual([
        ["a", 1],
        ["b", 1],
        ["d", 1],
      ]);
      expect(await countsOf(world.client.jsm, "c")).toEqual([1]);
      expect(world.outcomes().filter((outcome) => outcome === "replayed")).toHaveLength(2);
      expect((await world.infoOf()).paused).toBeFalsy();
    });

    it("leaves what was parked to its dead letter, be it discarded, and repeats no redrive", async () => {
      const broken = new Set(["a", "b"]);
      const failing: Handler<typeof act.schema> = {
        contract: act,
        keys: ({ orderId }) => [key(counter, orderId)],
        decide: (view, { orderId }) => {
          if (broken.has(orderId)) return { kind: "dead", reason: "broken" };
          world.acted.push(orderId);
          const there = view.get(counter, orderId) !== undefined;
          return { kind: "done", messages: there ? [] : [message(counter, orderId, { available: 1n })] };
        },
      };
      for (const id of ["a", "b", "c"]) await world.send(act, id);
      world.start([failing], {});
      await world.drained();
      // a comes back, fails again, and is discarded; b is mended, comes back, and is handled.
      await redriveDeadLetter(world.client, "test.test.INBOX.1", { by: "eve", dryRun: false, force: true });
      await world.drained();
      await discardDeadLetter(world.client, "test.test.INBOX.1", { by: "eve", reason: "a test order" });
      broken.clear();
      await redriveDeadLetter(world.client, "test.test.INBOX.2", { by: "eve", dryRun: false, force: true });
      await world.drained();
      expect(world.acted.sort()).toEqual(["b", "c"]);
      const stored = (await world.client.jsm.streams.info("DEAD_LETTER")).state.last_seq;
      world.acted = [];
      world.deliveries = [];
      const plans = [await world.plan(), await world.plan({ kind: "start" }, "DEAD_LETTER")];
      expect(await replay(world.client, plans, { by: "eve", signal: never, ...times })).toMatchObject({
        kind: "replayed",
      });
      await until("the replay", () => world.deliveries.length >= 5);
      await world.drained();
      // Decided again: b, whose letter was handled, and c. Redriven twice, and neither is handled for it. What a decision
      // without messages was made on may have been read anew, and the decision made again.
      expect([...new Set(world.acted)].sort()).toEqual(["b", "c"]);
      expect(world.outcomes()).toEqual(["done", "done", "replayed", "replayed", "replayed"]);
      expect((await readReplayMark(world.client.connection, consumer)).mark?.parked).toEqual([1]);
      expect((await world.client.jsm.streams.info("DEAD_LETTER")).state.last_seq).toBe(stored);
    });

    it("is refused while another one goes on, and one of two that begin together goes through", async () => {
      for (const id of ["a", "b"]) await world.send(act, id);
      world.start([world.acting()]);
      await world.drained();
      const wanted = await world.plan();
      const both = Promise.allSettled(
        [1, 2].map((n) => replay(world.client, [wanted], { by: `eve ${n}`, signal: never, waitMs: 3_000 })),
      );
      await until("the pause", async () => (await world.infoOf()).paused);
      await expect(
        replay(world.client, [wanted], { by: "late", signal: never, waitMs: 3_000 }),
      ).rejects.toThrow("it is paused until");
      const ended = await both;
      expect(ended.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      expect(ended.find((it) => it.status === "rejected")?.reason).toMatchObject({ name: "ReplayError" });
      await world.drained();
      expect(world.acted.sort()).toEqual(["a", "b"]);
      expect((await world.infoOf()).paused).toBeFalsy();
    });

    it("ends without a reset when it is interrupted, and the consumer goes on", async () => {
      await world.send(act, "a");
      world.start([world.acting()]);
      await world.drained();
      const interrupt = new AbortController();
      const onStep = ({ kind }: ReplayStep) => kind === "waiting" && interrupt.abort();
      const { signal } = interrupt;
      expect(await replay(world.client, [await world.plan()], { by: "eve", signal, onStep })).toEqual({
        kind: "interrupted",
      });
      expect(await world.infoOf()).toMatchObject({ ack_floor: { stream_seq: 1 }, num_pending: 0 });
      expect((await world.infoOf()).paused).toBeFalsy();
      await world.send(act, "b");
      await until("b", () => world.deliveries.length === 2);
      expect(world.acted).toEqual(["a", "b"]);
      expect(world.outcomes()).toEqual(["done", "done"]);
    });

    it("never takes back an earlier one's mark, and pauses for a minute at most by the server's clock", async () => {
      for (const id of ["a", "b", "c"]) await world.send(act, id);
      world.start([world.acting()]);
      await world.drained();
      await world.write(await world.markOf({ up_to: 900, delivered: 950 }));
      let remaining = 0;
      const onStep = async ({ kind }: ReplayStep) => {
        if (kind !== "paused") return;
        remaining = ((await world.infoOf()) as unknown as { pause_remaining: number }).pause_remaining / 1e6;
      };
      await replay(world.client, [await world.plan({ kind: "sequence", seq: 2 })], {
        by: "eve",
        signal: never,
        ...times,
        onStep,
      });
      const { mark } = await readReplayMark(world.client.connection, consumer);
      expect(mark).toMatchObject({ up_to: 900, delivered: 950, from: 2 });
      expect(REPLAY_WAIT_MS).toBeGreaterThan(MARK_TRUST_MS);
      expect(remaining).toBeGreaterThan(REPLAY_PAUSE_MS / 2);
      expect(remaining).toBeLessThanOrEqual(REPLAY_PAUSE_MS);
    });
  });
});
