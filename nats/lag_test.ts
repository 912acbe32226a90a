import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, startNats } from "../test/support/mod.ts";
import { commit, newHeaders } from "./commit.ts";
import { type ConsumerLag, readLags } from "./lag.ts";
import { makeAnew } from "./testing.ts";
import { topology } from "./topology.ts";

let nats: NatsServer;
let client: Client;
beforeAll(async () => {
  nats = await startNats();
  client = await nats.connect();
});
afterAll(() => nats[Symbol.asyncDispose]());
beforeEach(() => makeAnew(client.jsm, nats.url, topology));

/** @returns When it was stored, in milliseconds. */
async function store(subject: string): Promise<number> {
  const stream = subject.split(".")[0]?.toUpperCase() ?? "";
  const entry = { subject, data: new Uint8Array(), headers: newHeaders() };
  const outcome = await commit(client.connection, stream, [entry]);
  if (outcome.kind !== "committed") throw new Error(outcome.kind);
  const stored = await client.jsm.direct.getMessage(stream, { seq: outcome.lastSeq });
  return stored?.time.getTime() ?? 0;
}

async function lagOf(stream: string, consumer: string, now?: () => number): Promise<ConsumerLag> {
  const lags = await readLags(client.jsm, now && { now });
  const lag = lags.find((lag) => lag.stream === stream && lag.consumer === consumer);
  if (lag === undefined) throw new Error(`the topology has no ${stream}/${consumer}`);
  return lag;
}

describe("readLags()", () => {
  it("is 0 for all where nothing is stored, and where nothing is that a consumer takes", async () => {
    await store("checkout.timer.o1");
    const lags = await readLags(client.jsm);
    expect(lags).toHaveLength(topology.consumers.length);
    for (const lag of lags) expect(lag).toMatchObject({ missing: false, pending: 0, unacked: 0, seconds: 0 });
  });

  it("is the age of the oldest message that the consumer takes, though nobody pulls from it", async () => {
    await store("checkout.timer.o1");
    const release = await store("checkout.release_stock.o1");
    await store("checkout.reserve_stock.o2");
    const now = () => release + 90_000;
    expect(await lagOf("CHECKOUT", "inventory", now)).toMatchObject({ pending: 2, unacked: 0, seconds: 90 });
    expect(await lagOf("CHECKOUT", "payment", now)).toMatchObject({ pending: 0, seconds: 0 });
  });

  it("counts what is delivered and not acknowledged, however much is acknowledged behind it", async () => {
    const first = await store("checkout.reserve_stock.o1");
    await store("checkout.reserve_stock.o2");
    const last = await store("checkout.reserve_stock.o3");
    const now = () => last + 5_000;
    const consumer = await client.js.consumers.get("CHECKOUT", "inventory");
    const [one, two] = [await consumer.next(), await consumer.next()];
    await two?.ackAck();
    const behind = await lagOf("CHECKOUT", "inventory", now);
    expect(behind).toMatchObject({ pending: 1, unacked: 1, redelivered: 0 });
    expect(behind.seconds).toBe((now() - first) / 1_000);
    await one?.ackAck();
    expect(await lagOf("CHECKOUT", "inventory", now)).toMatchObject({ pending: 1, unacked: 0, seconds: 5 });
    await (await consumer.next())?.ackAck();
    expect(await lagOf("CHECKOUT", "inventory", now)).toMatchObject({ pending: 0, unacked: 0, seconds: 0 });
  });

  it("says of a message that it came again", async () => {
    await store("checkout.reserve_stock.o1");
    const consumer = await client.js.consumers.get("CHECKOUT", "inventory");
    (await consumer.next())?.nak();
    const again = await consumer.next();
    expect(await lagOf("CHECKOUT", "inventory")).toMatchObject({ unacked: 1, redelivered: 1 });
    await again?.ackAck();
  });

  it("takes a clock that is behind the server's for no negative age", async () => {
    const stored = await store("order.created.o1");
    expect((await lagOf("ORDER", "coordinator", () => stored - 60_000)).seconds).toBe(0);
  });

  it("says that a consumer is missing, and goes on with the others", async () => {
    await client.jsm.consumers.delete("CHECKOUT", "payment");
    await store("checkout.reserve_stock.o1");
    expect(await lagOf("CHECKOUT", "payment")).toMatchObject({ missing: true, pending: 0 });
    expect(await lagOf("CHECKOUT", "inventory")).toMatchObject({ missing: false, pending: 1 });
  });
});
