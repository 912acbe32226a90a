import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  applyTopology,
  checkoutState,
  checkoutTimer,
  commit,
  deadlinePassed,
  key,
  Ledger,
  message,
  newHeaders,
  newTrace,
  readLast,
  subjectOf,
} from "../../nats/mod.ts";
import { type Client, type NatsServer, silent, startNats } from "../../test/support/mod.ts";
import { type Deadlines, decide } from "./decide.ts";
import type { Checkout } from "./messages.ts";
import { type SweepOptions, sweep, sweepRegularly, sweepUntimed } from "./sweep.ts";

const MINUTE = 60_000;
const deadlines: Deadlines = {
  reserving: MINUTE,
  screening: MINUTE,
  in_review: MINUTE,
  charging: MINUTE,
  fulfilling: MINUTE,
  refunding: MINUTE,
  releasing: MINUTE,
};
// Far ahead, so that no timer that a sweep sets fires while the test looks at it.
const begun = new Date("2099-01-01T00:00:00Z");
const longAgo = new Date("2026-01-01T00:00:00Z");
const after = (ms: number) => new Date(begun.getTime() + ms);

let nats: NatsServer;
let client: Client;
let ledger: Ledger;

beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  ledger = openLedger();
});
afterAll(async () => {
  await ledger[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

function openLedger(): Ledger {
  const { connection } = client;
  return new Ledger(connection, {
    stream: "CHECKOUT",
    source: "/test",
    log: silent,
  });
}

/** What was logged as an error, by order. */
function setUp(changes: Partial<SweepOptions> = {}): { options: SweepOptions; failed: string[] } {
  const failed: string[] = [];
  const log = {
    warn: () => undefined,
    error: ({ order_id }: { order_id?: string }) => void failed.push(order_id ?? "the sweep"),
  };
  const { signal } = new AbortController();
  const { connection, jsm } = client;
  return { options: { connection, jsm, ledger, log, deadlines, signal, ...changes }, failed };
}

/**
 * Stores a checkout that waits for its stock since `at`, and its timer without what makes it a schedule: it is there
 * like any other, and never fires.
 */
async function begin(orderId: string, at = begun): Promise<void> {
  const order = create(OrderSchema, { orderId, placedAt: timestampFromDate(at) });
  const decided = decide(undefined, { event: "order.created", now: at, order }, deadlines);
  await ledger.execute({
    keys: [key(checkoutState, orderId)],
    trace: newTrace(),
    decide: () => ({ messages: decided.map(({ schedule: _, ...rest }) => rest), result: undefined }),
  });
}

/** Stores something under `subject` that is no protobuf message. */
async function poison(subject: string): Promise<void> {
  const entry = { subject, data: Buffer.from("not protobuf"), headers: newHeaders() };
  expect(await commit(client.connection, "CHECKOUT", [entry])).toMatchObject({ kind: "committed" });
}

async function checkoutOf(orderId: string): Promise<Checkout> {
  return (await readLast(client.connection, "CHECKOUT", key(checkoutState, orderId))).value as Checkout;
}

async function remove(...orderIds: string[]): Promise<void> {
  for (const id of orderIds) {
    await client.jsm.streams.purge("CHECKOUT", { filter: subjectOf(checkoutTimer, id) });
  }
}

describe("sweep()", () => {
  it("moves a checkout on whose timer does not fire", async () => {
    await begin("late");
    expect(await sweep(setUp().options, after(MINUTE + 5_000))).toBe(1);
    expect(await checkoutOf("late")).toMatchObject({ state: "releasing", reason: "timed_out" });
    const { value } = await readLast(client.connection, "CHECKOUT", key(checkoutTimer, "late"));
    expect(value).toMatchObject({ state: "releasing", version: 3 });
    expect(value?.deadline && timestampMs(value.deadline)).toBe(after(2 * MINUTE + 5_000).getTime());
    await remove("late");
  });

  it("does nothing early, and leaves the timer a while to fire by itself", async () => {
    await begin("early");
    const before = (await client.jsm.streams.info("CHECKOUT")).state.last_seq;
    for (const ms of [0, MINUTE - 1, MINUTE, MINUTE + 4_999]) {
      expect(await sweep(setUp().options, after(ms))).toBe(0);
    }
    expect((await client.jsm.streams.info("CHECKOUT")).state.last_seq).toBe(before);
    expect(await checkoutOf("early")).toMatchObject({ state: "reserving" });
    await remove("early");
  });

  it("does nothing for a checkout that has moved on, whatever its timer says", async () => {
    await begin("moved");
    const moved = { ...(await checkoutOf("moved")), deadline: timestampFromDate(after(10 * MINUTE)) };
    await ledger.execute({
      keys: [key(checkoutState, "moved")],
      trace: newTrace(),
      decide: () => ({ messages: [message(checkoutState, "moved", moved)], result: undefined }),
    });
    expect(await sweep(setUp().options, after(5 * MINUTE))).toBe(0);
    expect(await checkoutOf("moved")).toMatchObject({ state: "reserving", history: moved.history });
    await remove("moved");
  });

  it("sets the timer anew of a checkout that has time left, when the one that is set did not fire", async () => {
    await begin("rearmed");
    const moved = { ...(await checkoutOf("rearmed")), deadline: timestampFromDate(after(10 * MINUTE)) };
    await ledger.execute({
      keys: [key(checkoutState, "rearmed")],
      trace: newTrace(),
      decide: () => ({ messages: [message(checkoutState, "rearmed", moved)], result: undefined }),
    });
    expect(await sweep(setUp().options, after(MINUTE + 4_999))).toBe(0);
    expect((await checkoutOf("rearmed")).timerAt).toEqual(timestampFromDate(after(MINUTE)));
    expect(await sweep(setUp().options, after(MINUTE + 5_000))).toBe(0);
    expect((await checkoutOf("rearmed")).timerAt).toEqual(moved.deadline);
    const { value } = await readLast(client.connection, "CHECKOUT", key(checkoutTimer, "rearmed"));
    expect(value?.deadline).toEqual(moved.deadline);
    expect(await sweep(setUp().options, after(10 * MINUTE + 5_000))).toBe(1);
    await remove("rearmed");
  });

  it.each([
    ["a checkout whose deadline has passed", MINUTE, { state: "releasing", reason: "timed_out" }],
    ["a checkout that has time left", 30 * MINUTE, { state: "reserving", reason: "" }],
  ])("takes care of %s and whose timer fired and was lost", async (_, deadlineMs, expected) => {
    const orderId = `lost-${deadlineMs}`;
    const now = new Date();
    const began = new Date(now.getTime() - MINUTE - 5_000);
    await begin(orderId, began);
    const lost = {
      ...(await checkoutOf(orderId)),
      deadline: timestampFromDate(new Date(began.getTime() + deadlineMs)),
    };
    const timer = (await readLast(client.connection, "CHECKOUT", key(checkoutTimer, orderId))).value;
    await ledger.execute({
      keys: [key(checkoutState, orderId)],
      trace: newTrace(),
      decide: () => ({
        // What the server stores when a schedule fires; nobody consumes it here.
        messages: [
          message(checkoutState, orderId, lost),
          message(deadlinePassed, orderId, { orderId, ...(timer?.deadline && { deadline: timer.deadline }) }),
        ],
        result: undefined,
      }),
    });
    await remove(orderId);
    expect(await sweep(setUp().options, now)).toBe(expected.state === "releasing" ? 1 : 0);
    const found = await checkoutOf(orderId);
    expect(found).toMatchObject(expected);
    expect(found.timerAt).toEqual(found.deadline);
    const { value } = await readLast(client.connection, "CHECKOUT", key(checkoutTimer, orderId));
    expect(value?.deadline).toEqual(found.deadline);
    // Once.
    const before = (await client.jsm.streams.info("CHECKOUT")).state.last_seq;
    expect(await sweep(setUp().options, now)).toBe(0);
    expect((await client.jsm.streams.info("CHECKOUT")).state.last_seq).toBe(before);
    await remove(orderId);
  });

  it("goes on with the others when one cannot be moved, and says which", async () => {
    await begin("first");
    await begin("poisoned");
    await begin("last");
    // Another ledger instance: what the first one has written it knows without reading.
    await poison(subjectOf(checkoutState, "poisoned"));
    await poison(subjectOf(checkoutTimer, "unreadable"));
    await using fresh = openLedger();
    const { options, failed } = setUp({ ledger: fresh });
    expect(await sweep(options, after(2 * MINUTE))).toBe(2);
    expect(failed).toEqual(["poisoned"]);
    expect(await checkoutOf("first")).toMatchObject({ state: "releasing" });
    expect(await checkoutOf("last")).toMatchObject({ state: "releasing" });
    await remove("first", "poisoned", "last", "unreadable");
  });

  it("lets answers that wait to be read come before a deadline", async () => {
    await begin("answered");
    let asked = 0;
    const caughtUp = async () => {
      asked += 1;
      const answered = decide(
        await checkoutOf("answered"),
        { event: "inventory.stock_reserved", now: after(3 * MINUTE) },
        deadlines,
      );
      await ledger.execute({
        keys: [key(checkoutState, "answered")],
        trace: newTrace(),
        decide: () => ({ messages: answered, result: undefined }),
      });
    };
    const { options } = setUp({ caughtUp });
    expect(await sweep(options, after(MINUTE))).toBe(0);
    expect(asked).toBe(0);
    expect(await sweep(options, after(3 * MINUTE))).toBe(0);
    expect(asked).toBe(1);
    expect(await checkoutOf("answered")).toMatchObject({ state: "screening" });
    await remove("answered");
  });
});

describe("sweepRegularly()", () => {
  it("sweeps again and again, and a sweep that fails is not the last one", async () => {
    await begin("regular", longAgo);
    const stop = new AbortController();
    const swept = Promise.withResolvers<void>();
    let calls = 0;
    const caughtUp = async () => {
      calls += 1;
      if (calls === 1) throw new Error("not now");
    };
    const { options, failed } = setUp({ caughtUp, signal: stop.signal });
    const log = { ...options.log, warn: () => swept.resolve() };
    const sweeping = sweepRegularly({ ...options, log, everyMs: 1 });
    await swept.promise;
    stop.abort();
    await sweeping;
    expect(failed).toEqual(["the sweep"]);
    expect(await checkoutOf("regular")).toMatchObject({ state: "releasing" });
    await remove("regular");
  });

  it("ends at once when it is told to, also while the server does not answer", async () => {
    await begin("stuck", longAgo);
    const stop = new AbortController();
    const asked = Promise.withResolvers<void>();
    const { direct } = client.jsm;
    const watched = {
      direct: {
        getBatch(...request: Parameters<typeof direct.getBatch>) {
          asked.resolve();
          return direct.getBatch(...request);
        },
      },
    } as unknown as JetStreamManager;
    const { options, failed } = setUp({ jsm: watched, signal: stop.signal });
    nats.signal("SIGSTOP");
    try {
      const sweeping = sweepRegularly({ ...options, everyMs: 1 });
      await asked.promise;
      stop.abort();
      await sweeping;
    } finally {
      nats.signal("SIGCONT");
    }
    expect(failed).toEqual([]);
    await remove("stuck");
  }, 5_000);

  it("gives up what it is storing when it is told to", async () => {
    await begin("half");
    const stop = new AbortController();
    // The page has been read; from here on the server is away.
    const caughtUp = async () => nats.signal("SIGSTOP");
    await using fresh = openLedger();
    const { options, failed } = setUp({ ledger: fresh, caughtUp, signal: stop.signal });
    const executed = Promise.withResolvers<void>();
    const execute: Ledger["execute"] = (task, given) => {
      executed.resolve();
      return fresh.execute(task, given);
    };
    const ledger = { stream: fresh.stream, execute } as Ledger;
    try {
      const swept = sweep({ ...options, ledger }, after(2 * MINUTE));
      await executed.promise;
      stop.abort();
      expect(await swept).toBe(0);
    } finally {
      nats.signal("SIGCONT");
    }
    expect(failed).toEqual([]);
    await remove("half");
  }, 5_000);
});

describe("sweepUntimed()", () => {
  const loseTimer = (orderId: string) =>
    client.jsm.streams.purge("CHECKOUT", { filter: subjectOf(checkoutTimer, orderId) });
  // What other tests have left has lost its timers, too.
  beforeEach(() => client.jsm.streams.purge("CHECKOUT"));

  it("sets the timer anew of a live checkout that has lost it, and touches no other", async () => {
    await begin("with");
    await begin("without");
    await loseTimer("without");
    const counts: number[] = [];
    const { options } = setUp({ onUntimed: (count) => void counts.push(count) });
    expect(await sweepUntimed(options, after(1_000))).toBe(1);
    const { value } = await readLast(client.connection, "CHECKOUT", key(checkoutTimer, "without"));
    expect(value?.deadline && timestampMs(value.deadline)).toBe(begun.getTime() + MINUTE);
    expect((await checkoutOf("without")).state).toBe("reserving");
    expect(await sweepUntimed(options, after(1_000))).toBe(0);
    expect(counts).toEqual([1, 0]);
  });

  it("moves one on whose deadline has passed", async () => {
    await begin("late");
    await loseTimer("late");
    const { options } = setUp();
    expect(await sweepUntimed(options, after(2 * MINUTE))).toBe(1);
    expect((await checkoutOf("late")).state).not.toBe("reserving");
  });

  it("leaves alone what has ended, and what a timer has just fired for", async () => {
    await begin("fired");
    await loseTimer("fired");
    const { options } = setUp();
    expect(await sweepUntimed(options, after(MINUTE + 1_000))).toBe(0);
    await begin("over");
    const ended = message(checkoutState, "over", { ...(await checkoutOf("over")), state: "cancelled" });
    await ledger.execute({
      keys: [key(checkoutState, "over")],
      trace: newTrace(),
      decide: () => ({ messages: [ended], result: undefined }),
    });
    await loseTimer("over");
    expect(await sweepUntimed(options, after(1))).toBe(1);
    expect((await readLast(client.connection, "CHECKOUT", key(checkoutTimer, "over"))).seq).toBe(0);
  });
});
