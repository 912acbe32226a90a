import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { commit, newHeaders } from "./commit.ts";
import { key } from "./contracts/mod.ts";
import type { Handler } from "./handler.ts";
import { openReplayWorld, type ReplayWorld, topology } from "./replay_testing.ts";
import { act, counter } from "./testing.ts";

describe("a replay by its mark", { timeout: 60_000 }, () => {
  let world: ReplayWorld;
  beforeEach(async () => {
    world = await openReplayWorld();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  it("has no effect, though the state that would tell is gone, and without the mark it would", async () => {
    for (const id of ["a", "b", "c"]) await world.send(act, id);
    const first = world.start([world.acting()]);
    await world.drained();
    expect(world.acted.sort()).toEqual(["a", "b", "c"]);
    await first.shutdown();
    await world.forget("a");

    // What is marked is acknowledged; what is not is a message like any other.
    await world.write(await world.markOf());
    await world.client.jsm.consumers.reset("INBOX", "test", 1);
    world.acted = [];
    world.deliveries = [];
    const second = world.start([world.acting()]);
    await world.send(act, "d");
    await world.drained();
    expect(world.outcomes()).toEqual(["done", "replayed", "replayed", "replayed"]);
    expect(world.acted).toEqual(["d"]);
    await second.shutdown();

    await world.client.jsm.streams.purge("KV_REPLAYS");
    await world.client.jsm.consumers.reset("INBOX", "test", 1);
    world.acted = [];
    world.start([world.acting()]);
    await world.drained();
    expect(world.acted).toEqual(["a"]);
  });

  it("is handled where there is no effect, and says that it is one and was tried before", async () => {
    await world.send(act, "a");
    const seen: unknown[] = [];
    const watching: Handler<typeof act.schema> = {
      contract: act,
      keys: ({ orderId }) => [key(counter, orderId)],
      decide(_, { orderId }, { replayed, attempt }) {
        seen.push([orderId, replayed, attempt]);
        return { kind: "done", messages: [] };
      },
    };
    await world.start([watching], {}).shutdown();
    const first = world.start([watching], {});
    await world.drained();
    await first.shutdown();
    await world.write(await world.markOf());
    await world.client.jsm.consumers.reset("INBOX", "test", 1);
    world.start([watching], {});
    await world.send(act, "b");
    await world.drained();
    expect(seen).toEqual([
      ["a", false, 1],
      ["a", true, 2],
      ["b", false, 1],
    ]);
  });

  it("is none in a stream that was made anew, whose sequences are other messages", async () => {
    await world.send(act, "a");
    const first = world.start([world.acting()]);
    await world.drained();
    await first.shutdown();
    await world.write(await world.markOf({ up_to: 1_000, delivered: 1_000 }));
    await world.client.jsm.streams.delete("INBOX");
    await applyTopology({ servers: world.server.url, topology });
    await world.send(act, "b");
    world.start([world.acting()]);
    await world.drained();
    expect(world.acted).toEqual(["a", "b"]);
  });

  it("waits while nobody can tell: a mark that is no mark, or was not written by the operator", async () => {
    await world.send(act, "a");
    for (const [data, forged] of [
      ["nonsense", false],
      [JSON.stringify(await world.markOf()), true],
    ] as const) {
      const headers = newHeaders();
      if (forged) headers.set("Nats-Stream", "TEST");
      const entry = { subject: "$KV.REPLAYS.INBOX.test", data: Buffer.from(data), headers };
      expect(await commit(world.client.connection, "KV_REPLAYS", [entry])).toMatchObject({
        kind: "committed",
      });
      world.deliveries = [];
      const processor = world.start([world.acting()]);
      await until("two deliveries", () => world.deliveries.length >= 2);
      expect(new Set(world.outcomes())).toEqual(new Set(["error"]));
      await processor.shutdown();
    }
    await world.write(await world.markOf({ up_to: 0 })).catch(() => undefined);
    await world.client.jsm.streams.purge("KV_REPLAYS");
    world.start([world.acting()]);
    await world.drained();
    expect(world.acted).toEqual(["a"]);
  });
});
