import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, type NatsServer, silent, startNats, until } from "../../test/support/mod.ts";
import { aboutOrder } from "../about_order.ts";
import { applyTopology } from "../apply.ts";
import type { Cause } from "../cause.ts";
import { encode, message, type Outgoing } from "../contracts/mod.ts";
import * as shop from "../contracts/shop.ts";
import { park } from "../dead_letter.ts";
import { Ledger } from "../ledger.ts";
import { topology } from "../topology.ts";
import { newTrace } from "../trace.ts";
import { storyJson } from "./json.ts";
import { MAX_ENTRIES } from "./read.ts";
import { isTold } from "./says.ts";
import { readStory } from "./story.ts";

let nats: NatsServer;
let client: Client;
const ledgers = new Map<string, Ledger>();
beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  for (const { name, owner } of topology.streams) {
    if (owner === undefined) continue;
    ledgers.set(
      name,
      new Ledger(client.connection, { stream: name, source: `/services/${owner}`, log: silent }),
    );
  }
});
afterAll(async () => {
  for (const ledger of ledgers.values()) await ledger.shutdown();
  await nats[Symbol.asyncDispose]();
});

/** Stores them as one decision. */
async function decide(stream: string, messages: Outgoing[], cause?: Cause): Promise<void> {
  await ledgers.get(stream)?.execute({
    keys: messages.map(({ contract, subject }) => ({ contract, subject })),
    trace: newTrace(),
    ...(cause && { cause }),
    decide: () => ({ messages, result: undefined }),
  });
}

const storyOf = async (orderId: string) => {
  const story = await readStory(client, orderId);
  if (story === undefined) throw new Error(`there is no story of ${orderId}`);
  return story;
};

const lastSeq = async (stream: string) => (await client.jsm.streams.info(stream)).state.last_seq;

describe("readStory()", () => {
  it("finds nothing about an order that was never placed, nor under what is no id", async () => {
    await decide("ORDER", [message(shop.orderCreated, "here", {})]);
    for (const id of ["none", "", "*", ">", "a.b", "x".repeat(65), "here\n"])
      expect(await readStory(client, id)).toBeUndefined();
    expect((await storyOf("here")).entries).toHaveLength(1);
  });

  it("takes no message of an order whose id begins alike", async () => {
    await decide("ORDER", [message(shop.orderCreated, "alike", {})]);
    await decide("ORDER", [message(shop.orderCreated, "alike-2", {})]);
    expect((await storyOf("alike")).entries.map(({ subject }) => subject)).toEqual(["order.created.alike"]);
  });

  it("tells decisions of one commit apart by their causes, and knows those of one by the commit", async () => {
    const cause = (seq: number, attempt = 1) => ({ stream: "CHECKOUT", seq, attempt });
    let before = 0;
    // They share a commit unless the first is on its way before the others are there.
    const { entries } = await until("decisions that share a commit", async () => {
      const id = `together-${before}`;
      const payment = (status: string) => message(shop.payment, id, { orderId: id, status });
      before = await lastSeq("PAYMENT");
      await Promise.all([
        decide("PAYMENT", [payment("pending")], cause(1)),
        decide("PAYMENT", [payment("captured"), message(shop.paymentCaptured, id, {})], cause(1, 3)),
        decide("PAYMENT", [payment("refunded"), message(shop.paymentRefunded, id, {})], cause(2)),
      ]);
      const story = await storyOf(id);
      return new Set(story.entries.map(({ batch }) => batch?.id)).size === 1 && story;
    });
    expect(entries.map(({ seq }) => seq - before)).toEqual([1, 2, 3, 4, 5]);
    expect(entries.map(({ decision }) => decision)).toEqual([1, 2, 2, 3, 3]);
    expect(
      storyJson({ orderId: "x", entries, open: [], truncated: false }).entries.map(
        ({ delivery }) => delivery,
      ),
    ).toEqual([undefined, 3, 3, undefined, undefined]);
  });

  it("says what a message is that cannot be decoded, and goes on", async () => {
    const subject = "payment.payment.broken";
    await client.js.publish(subject, new Uint8Array([255, 255]));
    await decide("PAYMENT", [message(shop.paymentVoided, "broken", {})]);
    expect((await storyOf("broken")).entries.map(({ kind, says }) => [kind, says])).toEqual([
      ["other", "cannot be decoded as shop.payment.v1.Payment"],
      ["event", "nothing was captured, and nothing will be"],
    ]);
    await client.js.publish(
      subject,
      encode(shop.payment, message(shop.payment, "broken", { status: "pending" }).value),
    );
    expect((await storyOf("broken")).entries.at(-1)?.says).toMatch(/^payment pending/);
    await client.js.publish("payment.novelty.broken", "x");
    expect((await storyOf("broken")).entries.at(-1)).toMatchObject({
      kind: "other",
      subject: "payment.novelty.broken",
    });
  });

  it("moves no cursor of a terminal, whatever was stored", async () => {
    await decide("FULFILLMENT", [
      message(shop.fulfillmentFailed, "cursor", { failure: `\u001b[2Jboom\r\nthen ${"x".repeat(5_000)}` }),
    ]);
    const [entry] = (await storyOf("cursor")).entries;
    expect(entry?.says).toMatch(/^cannot be handed over: \[2Jboom then x+$/);
    expect(entry?.says.length).toBeLessThanOrEqual(500);
  });

  it("tells nobody but operators who decided, and why something was parked", async () => {
    const orderId = "private";
    await decide("FRAUD", [
      message(shop.reviewRejected, orderId, { orderId, reviewer: "eve", note: "a thief" }),
    ]);
    const seq = await lastSeq("FRAUD");
    const consumer = await client.js.consumers.get("FRAUD", "coordinator");
    for (let found = false; !found; ) {
      const delivered = await consumer.next({ expires: 1_000 });
      if (delivered?.seq === seq) {
        found = true;
        await park(client.connection, delivered, { service: "coordinator", error: "card 4242 is bad" });
      }
      delivered?.ack();
    }
    const story = await storyOf(orderId);
    expect(story.entries.map(({ kind }) => kind)).toEqual(["event", "dead_letter"]);
    const open = JSON.stringify(storyJson(story));
    for (const secret of ["eve", "thief", "4242"].map((text) => new RegExp(`\\b${text}\\b`)))
      expect(open).not.toMatch(secret);
    const { entries } = storyJson(story, { operator: true });
    expect(entries.map(({ details }) => details)).toEqual([
      { reviewer: "eve", note: "a thief" },
      { error: "card 4242 is bad" },
    ]);
    expect(entries[1]?.dead_letter).toMatchObject({
      id: `coordinator.coordinator.FRAUD.${seq}`,
      status: "parked",
    });
  });

  it("says who has not got a message, until it was acknowledged, and of whom there is no consumer", async () => {
    const orderId = "waiting";
    await decide("CHECKOUT", [message(shop.fulfillOrder, orderId, {})]);
    const waitsFor = async () => (await storyOf(orderId)).entries[0]?.waitsFor;
    expect(await waitsFor()).toEqual([{ service: "fulfillment", progress: "waiting", redelivered: 0 }]);
    const consumer = await client.js.consumers.get("CHECKOUT", "fulfillment");
    const delivered = await consumer.next({ expires: 5_000 });
    expect(await waitsFor()).toEqual([{ service: "fulfillment", progress: "under way", redelivered: 0 }]);
    delivered?.nak();
    const again = await consumer.next({ expires: 5_000 });
    expect(await waitsFor()).toEqual([{ service: "fulfillment", progress: "under way", redelivered: 1 }]);
    expect(await again?.ackAck()).toBe(true);
    expect(await waitsFor()).toEqual([]);
    await client.jsm.consumers.delete("CHECKOUT", "fulfillment");
    expect(await waitsFor()).toEqual([{ service: "fulfillment", progress: "missing", redelivered: 0 }]);
    await applyTopology({ servers: nats.url });
  });

  it("does not call what has had an effect undelivered", async () => {
    const orderId = "ahead";
    await decide("CHECKOUT", [message(shop.chargePayment, orderId, {})]);
    const cause = { stream: "CHECKOUT", seq: await lastSeq("CHECKOUT"), attempt: 1 };
    await decide("PAYMENT", [message(shop.payment, orderId, { status: "pending" })], cause);
    const [command] = (await storyOf(orderId)).entries;
    expect(command?.waitsFor).toMatchObject([{ service: "payment", progress: "under way" }]);
  });

  it("says that there is more than it tells", { timeout: 30_000 }, async () => {
    const orderId = "long";
    const state = message(shop.checkoutState, orderId, { state: "refunding" });
    for (let stored = 0; stored < MAX_ENTRIES; stored += 500)
      await decide(
        "CHECKOUT",
        Array.from({ length: 500 }, () => state),
      );
    expect(await storyOf(orderId)).toMatchObject({ truncated: false, entries: { length: MAX_ENTRIES } });
    await decide("PAYMENT", [message(shop.payment, orderId, { status: "refunding" })]);
    const long = await storyOf(orderId);
    expect(long).toMatchObject({ truncated: true, entries: { length: MAX_ENTRIES } });
    expect(storyJson(long).truncated).toBe(true);
    await decide("CHECKOUT", [state]);
    expect((await storyOf(orderId)).truncated).toBe(true);
  });
});

describe("sayOf()", () => {
  it("has a line for every contract that is about an order", () => {
    const about = topology.contracts?.filter(({ subject }) => aboutOrder(`${subject}.x`) !== undefined) ?? [];
    expect(about.length).toBeGreaterThan(30);
    expect(about.filter((contract) => !isTold(contract))).toEqual([]);
  });

  it("tells what a checkout remembers besides its transitions", async () => {
    const orderId = "remembers";
    const at = timestampFromMs(1_000);
    const created = { state: "created", at, cause: "order.created" };
    const history = [created, { state: "cancelled", at, cause: "order.cancel_requested" }];
    const base = { state: "cancelled", reason: "customer_request", history };
    await decide("CHECKOUT", [message(shop.checkoutState, orderId, base)]);
    await decide("CHECKOUT", [
      message(shop.checkoutState, orderId, { ...base, compensated: ["payment.captured"] }),
    ]);
    await decide("CHECKOUT", [
      message(shop.checkoutState, orderId, { ...base, compensated: ["payment.captured"], timerAt: at }),
    ]);
    expect((await storyOf(orderId)).entries.map(({ kind, says }) => [kind, says])).toEqual([
      ["transition", "created → cancelled, by order.cancel_requested; since customer_request"],
      ["state", "payment.captured came too late, its effect is undone"],
      ["state", "cancelled, asked again or timer set anew"],
    ]);
  });
});
