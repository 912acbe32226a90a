import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats, until } from "../test/support/mod.ts";
import { applyTopology } from "./apply.ts";
import { acceptRestore, isOtherMoment, olderText, StoreMemory } from "./seen.ts";
import { RESTORES } from "./topology.ts";

const topology = {
  streams: [{ name: "TEST", prefix: "test", owner: "test", description: "" }],
  buckets: [{ name: RESTORES, owner: undefined, description: "" }],
  consumers: [],
};

describe("StoreMemory", () => {
  let nats: NatsServer;
  let client: Client;
  beforeEach(async () => {
    nats = await startNats();
    client = await nats.connect();
    await applyTopology({ servers: nats.url, topology });
  });
  afterEach(() => nats[Symbol.asyncDispose]());

  const publish = async (count: number) => {
    // The client notices a moment later that the server is back.
    await until("the connection", () =>
      client.connection.rtt().then(
        () => true,
        () => false,
      ),
    );
    for (let n = 0; n < count; n++) await client.js.publish(`test.note.${n}`);
  };
  /** Saves the store, or puts back what was saved, while the server does not run. */
  const save = () =>
    nats.restart((store) => cp(join(store, "jetstream"), join(store, "saved"), { recursive: true }));
  const restore = () =>
    nats.restart(async (store) => {
      await rm(join(store, "jetstream"), { recursive: true });
      await cp(join(store, "saved"), join(store, "jetstream"), { recursive: true });
    });
  const look = (memory: StoreMemory) =>
    until("the server to answer", () => memory.look().catch(() => undefined));

  it("finds nothing in a store that goes on, is started again, or has lost a message that was removed", async () => {
    const memory = new StoreMemory(client, ["TEST"]);
    expect(await look(memory)).toEqual([]);
    await publish(3);
    expect(await look(memory)).toEqual([]);
    await nats.restart();
    await publish(1);
    expect(await look(memory)).toEqual([]);
    await client.jsm.streams.deleteMessage("TEST", 4);
    expect(await look(memory)).toEqual([]);
    const later = new StoreMemory(client, ["TEST"], JSON.parse(JSON.stringify(memory.remembered)));
    await publish(2);
    expect(await look(later)).toEqual([]);
  });

  it("finds a store that was restored, whether it ends earlier or has gone on since, until that is accepted", async () => {
    await publish(3);
    await save();
    await publish(2);
    const memory = new StoreMemory(client, ["TEST"]);
    await look(memory);
    await restore();
    expect(await look(memory)).toEqual([{ stream: "TEST", why: "it has 3 messages, and had 5" }]);
    expect(olderText(memory.older)).toContain("restored accept");
    await publish(4);
    expect(await look(memory)).toEqual([
      { stream: "TEST", why: expect.stringMatching(/^message 5 was stored at .*, and one of .* was seen$/) },
    ]);
    await acceptRestore(client, { at: Date.now() + 1, by: "test" });
    expect(await look(memory)).toEqual([]);
    // What is remembered from here on is the restored store.
    await publish(1);
    expect(await look(memory)).toEqual([]);
    await restore();
    expect(await look(memory)).toHaveLength(1);
  });

  it("finds a stream that was made again, and one that is missing", async () => {
    const memory = new StoreMemory(client, ["TEST"]);
    await look(memory);
    await client.jsm.streams.delete("TEST");
    expect(await look(memory)).toEqual([{ stream: "TEST", why: "it is missing" }]);
    await applyTopology({ servers: nats.url, topology });
    expect(await look(memory)).toEqual([
      { stream: "TEST", why: expect.stringMatching(/^it was made at .*, and not at /) },
    ]);
  });
});

describe("isOtherMoment()", () => {
  it("puts up with what the client loses of a moment", () => {
    const at = new Date("2026-01-01T00:00:00.100Z");
    expect(isOtherMoment(at, at)).toBe(false);
    expect(isOtherMoment(at, new Date(at.getTime() + 1))).toBe(false);
    expect(isOtherMoment(at, new Date(at.getTime() - 1))).toBe(false);
    expect(isOtherMoment(at, new Date(at.getTime() + 2))).toBe(true);
  });
});
