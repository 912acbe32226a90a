import { DeliverPolicy } from "@nats-io/jetstream";
import { beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats } from "../test/support/mod.ts";
import { applyTopology, consumerConfig, RefusedError, streamConfig } from "./apply.ts";
import { planReplay } from "./replay_plan.ts";
import { checkServers } from "./start_check.ts";
import { act, add, other, testTopology } from "./testing.ts";
import type { ConsumerSpec, Topology } from "./topology.ts";

const [reader] = testTopology.consumers;
const [, inbox] = testTopology.streams;
if (reader === undefined || inbox === undefined) throw new Error("no topology");
/** Somebody who has an effect for each message. */
const mailer: ConsumerSpec = { stream: "INBOX", service: "mailer", contracts: [add], effects: "mails" };
const withMailer = (changes: Partial<ConsumerSpec> = {}): Topology => ({
  ...testTopology,
  consumers: [reader, { ...mailer, ...changes }],
});

let server: NatsServer;
let client: Client;
beforeEach(async () => {
  server = await startNats();
  client = await server.connect();
  return () => server[Symbol.asyncDispose]();
});

const apply = async (topology: Topology, options: { dryRun?: boolean } = {}) =>
  (await applyTopology({ servers: server.url, topology, ...options })).changes;

async function refusalsOf(topology: Topology): Promise<readonly string[]> {
  const cause = await apply(topology).catch((cause: unknown) => cause);
  if (!(cause instanceof RefusedError)) throw new Error("It was not refused", { cause });
  return cause.reasons;
}

async function publish(count: number, subject = "inbox.add.x"): Promise<void> {
  for (let n = 0; n < count; n++) await client.js.publish(subject, "x");
}

/** Sequences that a consumer is delivered, which acknowledges them. */
async function delivered(service: string): Promise<number[]> {
  const consumer = await client.js.consumers.get("INBOX", service);
  const seqs: number[] = [];
  for await (const msg of await consumer.fetch({ max_messages: 100, expires: 1_000 })) {
    seqs.push(msg.seq);
    await msg.ackAck();
  }
  return seqs;
}

describe("a new consumer with effects", () => {
  beforeEach(async () => {
    await apply(testTopology);
    await publish(3);
  });

  it("begins now, and applying says what it leaves out, in a dry run too", async () => {
    const line =
      "+ consumer INBOX/mailer (inbox.add.>): begins now: no mails for the 3 messages that are stored";
    expect(await apply(withMailer(), { dryRun: true })).toEqual([line]);
    expect(await apply(withMailer())).toEqual([line]);
    await publish(2);
    expect(await delivered("mailer")).toEqual([4, 5]);
  });

  it("is as the topology has it from then on: nothing differs, and it may be changed", async () => {
    await apply(withMailer());
    expect(await apply(withMailer())).toEqual([]);
    const topology = withMailer();
    const findings = await checkServers(client.connection, client.jsm, { service: "mailer", topology });
    expect(findings).toEqual([]);
    await client.jsm.consumers.update("INBOX", "mailer", { max_ack_pending: 7 });
    expect(await apply(withMailer())).toEqual([
      expect.stringMatching(/^~ consumer INBOX\/mailer: max_ack_pending/),
    ]);
  });

  it("gets all of them if the topology says so", async () => {
    expect(await apply(withMailer({ begins: "first" }))).toEqual([
      "+ consumer INBOX/mailer (inbox.add.>): gets the 3 messages that are stored, with mails",
    ]);
    expect(await delivered("mailer")).toEqual([1, 2, 3]);
  });

  it("is replayed from where it began, and not from before", async () => {
    await apply(withMailer());
    await publish(2);
    await delivered("mailer");
    const plan = await planReplay(client, mailer, { from: { kind: "start" } });
    expect(plan).toMatchObject({ from: 4, messages: new Map([["inbox.add", 2]]) });
    await client.jsm.consumers.reset("INBOX", "mailer", plan.from);
    expect(await delivered("mailer")).toEqual([4, 5]);
  });

  it("begins with the first where nothing of its own is stored, so that nothing is lost of what comes meanwhile", async () => {
    const topology = withMailer({ contracts: [act] });
    expect(await apply(topology)).toEqual(["+ consumer INBOX/mailer (inbox.act.>)"]);
    const { config } = await client.jsm.consumers.info("INBOX", "mailer");
    expect(config.deliver_policy).toBe(DeliverPolicy.All);
  });
});

it("a new consumer without effects gets what is stored, and applying says how much; `begins` says otherwise", async () => {
  await apply({ ...testTopology, consumers: [] });
  await publish(1);
  await publish(2, "inbox.other.x");
  expect(await apply(testTopology)).toEqual([
    "+ consumer INBOX/test (inbox.add.>,inbox.act.>,inbox.other.>): gets the 3 messages that are stored",
  ]);
  await client.jsm.consumers.delete("INBOX", "test");
  expect(await apply({ ...testTopology, consumers: [{ ...reader, begins: "now" }] })).toEqual([
    expect.stringMatching(/: begins now: it does not get the 3 messages that are stored$/),
  ]);
});

it("a consumer without effects that takes another subject starts over, where the topology says that it begins with the first", async () => {
  const only = (spec: ConsumerSpec): Topology => ({ ...testTopology, consumers: [spec] });
  const begins = "first";
  await apply(only({ ...reader, contracts: [add], begins }));
  await publish(2);
  await publish(1, "inbox.other.x");
  expect(await delivered("test")).toEqual([1, 2]);
  expect(await refusalsOf(only({ ...reader, contracts: [add, other] }))).toHaveLength(1);
  expect(await apply(only({ ...reader, contracts: [add, other], begins }))).toEqual([
    expect.stringMatching(/, starts over, for 1 stored message of inbox\.other\.>$/),
  ]);
  expect(await delivered("test")).toEqual([1, 2, 3]);
  expect(await apply(only({ ...reader, contracts: [add, other], begins }))).toEqual([]);
});

describe("a consumer with effects that was there before and is missing", () => {
  const lost =
    ": was there before and is missing: it gets the 3 messages that are stored, and repeats nothing that its ledger shows";

  it("gets everything again, as it is made with its stream", async () => {
    expect(await apply(withMailer())).toHaveLength(5);
    await publish(3);
    await client.jsm.consumers.delete("INBOX", "mailer");
    expect(await apply(withMailer())).toEqual([`+ consumer INBOX/mailer (inbox.add.>)${lost}`]);
    expect(await delivered("mailer")).toEqual([1, 2, 3]);
    expect(await apply(withMailer())).toEqual([]);
  });

  it("gets what came before it began as well, rather than skip what it has not handled", async () => {
    await apply(testTopology);
    await publish(2);
    await apply(withMailer());
    await publish(1);
    await client.jsm.consumers.delete("INBOX", "mailer");
    expect(await apply(withMailer({ begins: "now" }))).toEqual([
      `+ consumer INBOX/mailer (inbox.add.>)${lost}`,
    ]);
    expect(await delivered("mailer")).toEqual([1, 2, 3]);
  });

  it("was there if it is so when an older version's stream is first seen", async () => {
    await client.jsm.streams.add(streamConfig(inbox, 1));
    await client.jsm.consumers.add("INBOX", consumerConfig(mailer));
    await publish(3);
    const only: Topology = { streams: [inbox], consumers: [mailer] };
    expect(await apply(only)).toEqual(["~ stream INBOX: notes which of its consumers have been there"]);
    expect(await apply(only)).toEqual([]);
    await client.jsm.consumers.delete("INBOX", "mailer");
    expect(await apply(only)).toEqual([`+ consumer INBOX/mailer (inbox.add.>)${lost}`]);
  });

  it("is made neither way where nobody can tell, unless the topology says which", async () => {
    await client.jsm.streams.add(streamConfig(inbox, 1));
    await publish(3);
    const only = (begins?: "now" | "first"): Topology => ({
      streams: [inbox],
      consumers: [{ ...mailer, ...(begins && { begins }) }],
    });
    expect(await refusalsOf(only())).toEqual([
      expect.stringMatching(
        /^consumer INBOX\/mailer is missing, and INBOX was made by a version that did not note/,
      ),
    ]);
    expect(await apply(only("now"))).toEqual([
      expect.stringContaining("begins now: no mails for the 3 messages"),
      "~ stream INBOX: notes which of its consumers have been there",
    ]);
  });

  it("is not made with a subject more, whose history it would have effects for", async () => {
    await apply(withMailer());
    await publish(3);
    await publish(2, "inbox.other.x");
    await client.jsm.consumers.delete("INBOX", "mailer");
    expect(await refusalsOf(withMailer({ contracts: [add, other] }))).toEqual([
      expect.stringMatching(
        /would get inbox\.other\.> \(2 messages\) too, which it did not take then: apply .* without that/,
      ),
    ]);
    await apply(withMailer());
    expect(await delivered("mailer")).toEqual([1, 2, 3]);
    expect(await apply(withMailer({ contracts: [add, other] }))).toEqual([
      expect.stringMatching(
        /of inbox\.other\.> it gets what comes after its position, not the 2 messages before$/,
      ),
    ]);
    await publish(1, "inbox.other.x");
    expect((await delivered("mailer")).at(-1)).toBe(6);
  });
});

it("a consumer that somebody made by hand to skip messages is found", async () => {
  await apply(testTopology);
  await publish(3);
  await client.jsm.consumers.delete("INBOX", "test");
  await client.jsm.consumers.add("INBOX", {
    ...consumerConfig(reader),
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: 3,
  });
  expect(await refusalsOf(testTopology)).toEqual([
    expect.stringMatching(/^consumer INBOX\/test: deliver_policy "by_start_sequence" → "all"/),
  ]);
});
