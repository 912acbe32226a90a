import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../test/support/mod.ts";
import { type ReplayFrom, totalOf } from "./replay_plan.ts";
import { openReplayWorld, type ReplayWorld } from "./replay_testing.ts";
import { act, add } from "./testing.ts";

describe("planReplay()", () => {
  let world: ReplayWorld;
  beforeEach(async () => {
    world = await openReplayWorld();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  it("counts by subject from a sequence or a time on, and nothing that is still to be handled", async () => {
    for (const id of ["a", "b"]) await world.send(act, id);
    await world.send(add, "c");
    world.start([world.acting(), { ...world.acting(), contract: add }]);
    await world.drained();
    await until(
      "a later millisecond",
      async () => Date.now() > Date.parse((await world.client.jsm.streams.info("INBOX")).state.last_ts) + 2,
    );
    const time = new Date();
    await world.send(act, "d");
    await world.drained();
    const counts = async (from: ReplayFrom) => Object.fromEntries((await world.plan(from)).messages);
    expect(await counts({ kind: "start" })).toEqual({ "inbox.act": 3, "inbox.add": 1 });
    expect(await counts({ kind: "sequence", seq: 2 })).toEqual({ "inbox.act": 2, "inbox.add": 1 });
    expect(await counts({ kind: "time", time })).toEqual({ "inbox.act": 1 });
    expect((await world.plan({ kind: "time", time })).from).toBe(4);
    expect(totalOf(await world.plan({ kind: "time", time: new Date(Date.now() + 60_000) }))).toBe(0);
    await expect(world.plan({ kind: "sequence", seq: 5 })).rejects.toThrow(
      "Cannot replay INBOX/test from 5: the last message of INBOX is 4",
    );
    await world.client.jsm.consumers.delete("INBOX", "test");
    await expect(world.plan()).rejects.toThrow("Cannot replay INBOX/test: the server has no such consumer");
  });
});
