import type { ConsumerConfig, StreamConfig } from "@nats-io/jetstream";
import { beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats } from "../test/support/mod.ts";
import { applyTopology, consumerConfig, RefusedError, streamConfig } from "./apply.ts";
import { act, add, testTopology } from "./testing.ts";
import { topology as shop, type Topology } from "./topology.ts";

describe("applyTopology()", () => {
  let server: NatsServer;
  let client: Client;

  // A server each: to delete a stream and make another of its name at once may fail.
  beforeEach(async () => {
    server = await startNats();
    client = await server.connect();
    return () => server[Symbol.asyncDispose]();
  });

  const apply = (topology: Topology = testTopology, options: { dryRun?: boolean; replicas?: number } = {}) =>
    applyTopology({ servers: server.url, topology, ...options });
  const [ledger, inbox] = testTopology.streams;
  const [consumer] = testTopology.consumers;
  if (ledger === undefined || inbox === undefined || consumer === undefined) throw new Error("no topology");

  it("creates everything on a fresh server, and finds nothing to do the second time", async () => {
    expect(await apply()).toEqual({
      changes: [
        "+ stream TEST (test.>)",
        "+ stream INBOX (inbox.>)",
        "+ stream DEAD_LETTER (dead_letter.>)",
        "+ consumer INBOX/test (inbox.add.>,inbox.act.>,inbox.other.>)",
      ],
      undeclared: [],
    });
    expect(await apply()).toEqual({ changes: [], undeclared: [] });
  });

  it("does so for the shop", async () => {
    const { changes } = await applyTopology({ servers: server.url });
    expect(changes).toHaveLength(shop.streams.length + (shop.buckets?.length ?? 0) + shop.consumers.length);
    expect(await applyTopology({ servers: server.url })).toEqual({ changes: [], undeclared: [] });
  });

  it("says what it would do and touches nothing in a dry run", async () => {
    const { changes } = await apply(testTopology, { dryRun: true });
    expect(changes).toHaveLength(4);
    expect((await client.jsm.getAccountInfo()).streams).toBe(0);
    await apply();
    await client.jsm.streams.update("TEST", { max_msgs: 5 });
    expect((await apply(testTopology, { dryRun: true })).changes).toHaveLength(1);
    expect((await client.jsm.streams.info("TEST")).config.max_msgs).toBe(5);
  });

  const streamFields: Partial<StreamConfig> = {
    description: "something else",
    subjects: ["test.>", "extra.>"],
    max_age: 1e12,
    max_msgs: 1_000,
    max_bytes: 1_000_000,
    max_msgs_per_subject: 5,
    max_msg_size: 1_000,
    no_ack: true,
    allow_direct: false,
    allow_atomic: false,
    allow_msg_ttl: false,
    allow_msg_schedules: false,
    republish: { src: "test.a.*", dest: "watch.a.{{wildcard(1)}}" },
  };
  for (const [field, value] of Object.entries(streamFields)) {
    it(`mends ${field} of a stream with one change`, async () => {
      await client.jsm.streams.add({ ...streamConfig(ledger, 1), [field]: value });
      const only: Topology = { streams: [ledger], consumers: [] };
      expect((await apply(only)).changes).toEqual([
        expect.stringMatching(`^~ stream TEST: ${field} .* → [^,]*$`),
      ]);
      expect((await apply(only)).changes).toEqual([]);
    });
  }

  const consumerFields: Partial<ConsumerConfig> = {
    filter_subjects: ["inbox.add.>"],
    ack_wait: 5e9,
    max_ack_pending: 5,
    max_deliver: 3,
    headers_only: true,
    inactive_threshold: 60e9,
  };
  for (const [field, value] of Object.entries(consumerFields)) {
    it(`mends ${field} of a consumer with one change`, async () => {
      await client.jsm.streams.add(streamConfig(inbox, 1));
      await client.jsm.consumers.add("INBOX", { ...consumerConfig(consumer), [field]: value });
      const only: Topology = { streams: [inbox], consumers: [consumer] };
      expect((await apply(only)).changes).toEqual([
        expect.stringMatching(`^~ consumer INBOX/test: ${field} .* → .*$`),
      ]);
      expect((await apply(only)).changes).toEqual([]);
    });
  }

  it("mends a consumer's backoff, and a single filter that was set by its other name", async () => {
    await apply();
    const { filter_subjects: _, ...config } = consumerConfig(consumer);
    for (const change of [{ backoff: [1e9] }, { filter_subject: "inbox.add.>" }]) {
      await client.jsm.consumers.delete("INBOX", "test");
      await client.jsm.consumers.add("INBOX", { ...config, ...change });
      expect((await apply()).changes).toHaveLength(1);
      expect((await apply()).changes).toEqual([]);
    }
  });

  it("turns the watching of a stream on and off", async () => {
    const watched: Topology = { streams: [{ ...inbox, watched: add }], consumers: [] };
    await apply({ streams: [inbox], consumers: [] });
    expect((await apply(watched)).changes).toHaveLength(1);
    expect((await client.jsm.streams.info("INBOX")).config.republish?.dest).toBe(
      "watch.inbox.add.{{wildcard(1)}}",
    );
    expect((await apply({ streams: [inbox], consumers: [] })).changes).toHaveLength(1);
    expect((await client.jsm.streams.info("INBOX")).config.republish).toBeUndefined();
  });

  it("asks for as many replicas as it is told", async () => {
    await apply();
    const { changes } = await apply(testTopology, { replicas: 3, dryRun: true });
    expect(changes).toEqual(
      ["TEST", "INBOX", "DEAD_LETTER"].map((name) => `~ stream ${name}: num_replicas 1 → 3`),
    );
  });

  it("names what it does not know, and leaves it alone", async () => {
    await apply();
    await client.jsm.streams.add({ name: "THEIRS", subjects: ["theirs.>"] });
    await client.jsm.consumers.add("INBOX", { durable_name: "theirs" });
    const expected = { changes: [], undeclared: ["consumer INBOX/theirs", "stream THEIRS"] };
    expect(await apply()).toEqual(expected);
    expect(await apply()).toEqual(expected);
  });

  describe("refuses", () => {
    const refusal = async (topology: Topology): Promise<readonly string[]> => {
      const before = await snapshot();
      const cause = await apply(topology).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      if (!(cause instanceof RefusedError)) throw new Error("It was not refused", { cause });
      expect(await snapshot()).toEqual(before);
      return cause.reasons;
    };
    const snapshot = async () => {
      const configs: unknown[] = [];
      for await (const { config } of client.jsm.streams.list()) {
        configs.push(config);
        for await (const { config: own } of client.jsm.consumers.list(config.name)) configs.push(own);
      }
      return configs;
    };

    it("to stop storing a subject that holds messages, and changes nothing else either", async () => {
      await apply();
      await client.js.publish("test.counter.a", "x");
      const moved = testTopology.streams.map((spec) => ({ ...spec, prefix: `${spec.prefix}_2` }));
      expect(await refusal({ streams: moved, consumers: [] })).toEqual([
        "stream TEST: test.> would no longer be stored, and holds 1 message",
      ]);
    });

    it("not to stop storing a subject that holds none, or that a wider one covers", async () => {
      await client.jsm.streams.add({ ...streamConfig(ledger, 1), subjects: ["test.counter.*", "extra.>"] });
      await client.js.publish("test.counter.a", "x");
      expect((await apply({ streams: [ledger], consumers: [] })).changes).toHaveLength(1);
    });

    for (const [field, value] of Object.entries({ storage: "memory", retention: "interest" })) {
      it(`to change the ${field} of a stream`, async () => {
        await client.jsm.streams.add({ ...streamConfig(ledger, 1), [field]: value });
        expect(await refusal(testTopology)).toEqual([
          expect.stringMatching(`^stream TEST: ${field} "${value}" → ".*": the server would have to make`),
        ]);
      });
    }

    for (const [field, value] of Object.entries({ deliver_policy: "new", ack_policy: "all" })) {
      it(`to change the ${field} of a consumer`, async () => {
        await apply();
        await client.jsm.consumers.delete("INBOX", "test");
        await client.jsm.consumers.add("INBOX", { ...consumerConfig(consumer), [field]: value });
        expect(await refusal(testTopology)).toEqual([
          expect.stringMatching(
            `^consumer INBOX/test: ${field} "${value}" → ".*": it would have to be made anew`,
          ),
        ]);
      });
    }

    it("to add a filter to a consumer that may be past messages of it, even if it never delivered any", async () => {
      await apply({ ...testTopology, consumers: [{ ...consumer, contracts: [add] }] });
      await client.js.publish("inbox.other.x", "x");
      // It looks for a message of its filter and goes by the other one.
      const pulling = await client.js.consumers.get("INBOX", "test");
      expect(await pulling.next({ expires: 1_000 })).toBeNull();
      expect(await refusal(testTopology)).toEqual([
        expect.stringMatching(
          /^consumer INBOX\/test: inbox.other.> already holds 1 message that it might never get/,
        ),
      ]);
      // Nothing is stored under the other new filter.
      const safe = { ...testTopology, consumers: [{ ...consumer, contracts: [add, act] }] };
      expect((await apply(safe)).changes).toHaveLength(1);
    });
  });
});
