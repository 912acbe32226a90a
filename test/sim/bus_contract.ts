import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Delivered, Entry } from "./store.ts";

/** What became of a commit, as far as every bus can tell. */
export type BusOutcome = { kind: "committed"; lastSeq: number } | { kind: string };

/**
 * What the services rest on, of a server or of a fake: one stream `TEST` with subjects `test.>`, and its durable consumer
 * `taker` of `test.job.*`, which gets a message again {@linkcode Bus.ackWaitMs} after it was not acknowledged.
 */
export interface Bus extends AsyncDisposable {
  readonly ackWaitMs: number;
  now(): Date;
  commit(entries: readonly Entry<string>[]): Promise<BusOutcome>;
  /** A commit whose answer is lost: the outcome is unknown, and the entries are stored or not, as `arrives` says. */
  commitMute(entries: readonly Entry<string>[], options: { arrives: boolean }): Promise<BusOutcome>;
  last(subject: string): Promise<{ seq: number; data: string } | undefined>;
  /** How many messages there are of a subject. */
  count(subject: string): Promise<number>;
  /** What there is for the consumer right now, `max` at most. */
  fetch(max: number): Promise<Delivered<string>[]>;
  ack(delivered: Delivered<string>): Promise<void>;
  nak(delivered: Delivered<string>, delayMs: number): Promise<void>;
  /** The consumer starts anew with the first message. */
  reset(): Promise<void>;
  /** Lets time pass until there is something. */
  until<T>(what: string, check: () => Promise<T | undefined | false>): Promise<T>;
}

/** What a bus has to do to be one. The same suite runs on the real server and on the fake, so that the fake can be trusted. */
export function busContract(name: string, open: () => Promise<Bus>): void {
  describe(`the bus contract on ${name}`, () => {
    let bus: Bus;
    let serial = 0;
    let subject: string;
    beforeEach(async () => {
      bus = await open();
      subject = `test.thing.${++serial}`;
    });
    afterEach(() => bus[Symbol.asyncDispose]());

    const entry = (options: Partial<Entry<string>> = {}): Entry<string> => ({
      subject,
      data: "x",
      ...options,
    });
    const job = (id: string): Entry<string> => entry({ subject: `test.job.${id}`, data: id });
    /** Fetches until `count` have come. */
    const take = async (count: number): Promise<Delivered<string>[]> => {
      const taken: Delivered<string>[] = [];
      await bus.until(`${count} deliveries`, async () => {
        taken.push(...(await bus.fetch(count - taken.length)));
        return taken.length === count;
      });
      return taken;
    };
    const lastSeq = async (entries: readonly Entry<string>[]): Promise<number> => {
      const outcome = await bus.commit(entries);
      expect(outcome.kind).toBe("committed");
      return "lastSeq" in outcome ? outcome.lastSeq : 0;
    };

    it("stores a batch in order, with consecutive sequences", async () => {
      const other = `${subject}-b`;
      const seq = await lastSeq([
        entry({ data: "1" }),
        entry({ data: "2" }),
        entry({ subject: other, data: "3" }),
      ]);
      expect(await bus.last(subject)).toEqual({ seq: seq - 1, data: "2" });
      expect(await bus.last(other)).toEqual({ seq, data: "3" });
      expect(await lastSeq([entry()])).toBe(seq + 1);
    });

    it("has no last message of a subject that was never written", async () => {
      expect(await bus.last(subject)).toBeUndefined();
    });

    it("creates once under the guard 0", async () => {
      expect(await bus.commit([entry({ expect: 0 })])).toMatchObject({ kind: "committed" });
      expect(await bus.commit([entry({ expect: 0, data: "again" })])).toEqual({ kind: "conflict" });
      expect((await bus.last(subject))?.data).toBe("x");
    });

    it("follows the sequence that a guard names, and no other", async () => {
      const seq = await lastSeq([entry({ expect: 0 })]);
      expect(await bus.commit([entry({ expect: seq, data: "2" })])).toMatchObject({ kind: "committed" });
      expect(await bus.commit([entry({ expect: seq, data: "3" })])).toEqual({ kind: "conflict" });
      expect((await bus.last(subject))?.data).toBe("2");
    });

    it("stores none of a batch if one guard does not hold", async () => {
      await bus.commit([entry()]);
      const outcome = await bus.commit([
        entry({ subject: `${subject}-a`, expect: 0 }),
        entry({ expect: 0 }),
        entry({ subject: `${subject}-b` }),
      ]);
      expect(outcome).toEqual({ kind: "conflict" });
      expect(await bus.last(`${subject}-a`)).toBeUndefined();
      expect(await bus.last(`${subject}-b`)).toBeUndefined();
      expect(await bus.count(subject)).toBe(1);
    });

    it("guards the first write of a subject in a batch, and lets later ones follow", async () => {
      const seq = await lastSeq([entry({ expect: 0, data: "1" }), entry({ data: "2" })]);
      expect(await bus.last(subject)).toEqual({ seq, data: "2" });
    });

    it.each([true, false])(
      "leaves a commit without an answer to be read again (it arrives: %s)",
      async (arrives) => {
        expect((await bus.commitMute([entry({ expect: 0, data: "1" })], { arrives })).kind).toBe("unknown");
        // Under the same guard it is stored once, whichever it was.
        const again = await bus.commit([entry({ expect: 0, data: "2" })]);
        expect(again.kind).toBe(arrives ? "conflict" : "committed");
        expect((await bus.last(subject))?.data).toBe(arrives ? "1" : "2");
        expect(await bus.count(subject)).toBe(1);
      },
    );

    const timer = (id: string, ms: number): Entry<string> => ({
      subject: `test.timer.${id}`,
      data: `fired ${id}`,
      schedule: { at: new Date(bus.now().getTime() + ms), target: `test.job.${id}` },
    });

    it("fires a schedule once, with its data, and removes it", async () => {
      const schedule = timer("a", 300);
      await bus.commit([entry({ expect: 0 }), schedule]);
      expect((await bus.last("test.timer.a"))?.data).toBe("fired a");
      const [fired] = await take(1);
      expect(fired).toMatchObject({ subject: "test.job.a", data: "fired a", deliveries: 1 });
      expect(fired?.at).toBeGreaterThanOrEqual(schedule.schedule?.at.getTime() ?? 0);
      await bus.until("the schedule is gone", async () => (await bus.last("test.timer.a")) === undefined);
      expect(await bus.count("test.job.a")).toBe(1);
    });

    it("fires what replaced a schedule, and not what was replaced", async () => {
      await bus.commit([timer("a", 300), timer("end", 2_000)]);
      await bus.commit([{ ...timer("a", 900), data: "replaced" }]);
      for (const expected of ["replaced", "fired end"]) {
        const [fired] = await take(1);
        expect(fired?.data).toBe(expected);
        if (fired !== undefined) await bus.ack(fired);
      }
    });

    it("does not fire a schedule that a batch removes", async () => {
      await bus.commit([entry(), timer("a", 600), timer("end", 1_200)]);
      await lastSeq([entry({ cancels: "test.timer.a" }), entry()]);
      const fired = await take(1);
      expect(fired.map(({ data }) => data)).toEqual(["fired end"]);
      expect(await bus.last("test.timer.a")).toBeUndefined();
    });

    it("removes a schedule that has fired or never was without complaint", async () => {
      expect(await bus.commit([entry({ cancels: "test.timer.none" })])).toMatchObject({ kind: "committed" });
    });

    it("delivers what a consumer takes, in order, and nothing else", async () => {
      await bus.commit([job("1"), entry(), job("2")]);
      await bus.commit([job("3")]);
      const taken = await take(3);
      expect(taken.map(({ data }) => data)).toEqual(["1", "2", "3"]);
      expect(taken.map(({ deliveries }) => deliveries)).toEqual([1, 1, 1]);
    });

    it("delivers a message that is not acknowledged again, and one that is never", async () => {
      await bus.commit([job("1"), job("2")]);
      const [first, second] = await take(2);
      if (second !== undefined) await bus.ack(second);
      const [again] = await take(1);
      expect(again).toMatchObject({ seq: first?.seq, deliveries: 2 });
      if (again !== undefined) await bus.ack(again);
      await bus.commit([job("3")]);
      expect((await take(1)).map(({ data }) => data)).toEqual(["3"]);
    });

    it("delivers a message that is given back again after the delay, others meanwhile", async () => {
      await bus.commit([job("1"), job("2")]);
      const [first] = await take(1);
      if (first !== undefined) await bus.nak(first, 200);
      const taken = await take(2);
      expect(taken.map(({ data, deliveries }) => `${data} ${deliveries}`)).toEqual(["2 1", "1 2"]);
    });

    it("delivers everything again after a reset", async () => {
      await bus.commit([job("1"), job("2")]);
      for (const delivered of await take(2)) await bus.ack(delivered);
      await bus.reset();
      expect((await take(2)).map(({ data }) => data)).toEqual(["1", "2"]);
    });
  });
}
