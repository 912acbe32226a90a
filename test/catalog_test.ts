import { AckPolicy } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applyTopology, topology } from "../nats/mod.ts";
import type { catalogJson } from "../ops/catalog.ts";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { openShop, openStreams, type Streams, type TestShop, until } from "./support/mod.ts";

let shop: TestShop;
let streams: Streams;
beforeAll(async () => {
  shop = await openShop({}, { analytics: true });
  streams = await openStreams(shop.shop.operator);
});
afterAll(async () => {
  await streams?.[Symbol.asyncDispose]();
  await shop?.[Symbol.asyncDispose]();
});

async function catalog(...args: string[]) {
  const { output, text } = collect();
  const { servers, nkeyFile } = shop.shop.operator;
  const environment = { NATS_URL: servers, NATS_NKEY_FILE: nkeyFile };
  const code = await runOps(["catalog", ...args], { output, environment });
  return { code, ...text() };
}

async function read(): Promise<ReturnType<typeof catalogJson>> {
  return JSON.parse((await catalog("--json")).out);
}

describe("the consumers of a running shop", () => {
  it("are those of the topology, none more and none fewer", async () => {
    expect(await catalog("--check")).toEqual({
      code: 0,
      out: "",
      err: "The server's consumers are those of the topology\n",
    });
  });

  it("have taken everything when the orders have ended, and every message names version 1", async () => {
    const orders = [await shop.place(), await shop.place({ payment_token: "tok_declined" })];
    for (const order of orders) await shop.ends(order);
    const lags = async () => {
      return (await read()).events.flatMap(({ consumers }) => consumers.map(({ lag }) => lag));
    };
    await until("no lag", async () => (await lags()).every((lag) => lag === 0));

    const { events, differences } = await read();
    expect(differences).toEqual([]);
    expect(events).toHaveLength(topology.contracts?.length ?? 0);
    for (const { subject, schema, versions_seen, other_schemas, last_seen, consumers } of events) {
      expect({ subject, schema }).toEqual({
        subject,
        schema: { subject, id: expect.any(Number), version: 1 },
      });
      expect({ subject, versions_seen }).toEqual({ subject, versions_seen: last_seen === null ? [] : [1] });
      expect({ subject, other_schemas }).toEqual({ subject, other_schemas: [] });
      expect(consumers.every(({ declared, missing }) => declared && !missing)).toBe(true);
    }
    const seen = events.filter(({ last_seen }) => last_seen !== null).map(({ subject }) => subject);
    expect(seen).toEqual(expect.arrayContaining(["order.created", "checkout.completed", "payment.declined"]));
  });

  it("are missed and found when they are others", async () => {
    const { jsm } = streams;
    await jsm.consumers.add("ORDER", { durable_name: "audit", ack_policy: AckPolicy.Explicit });
    const undeclared = await catalog("--check");
    expect(undeclared).toMatchObject({
      code: 1,
      out: "consumer ORDER/audit is not in the topology; it takes everything\n",
    });
    await jsm.consumers.delete("ORDER", "audit");

    await jsm.consumers.delete("CHECKOUT", "notification");
    expect(await catalog("--check")).toMatchObject({
      code: 1,
      out:
        "consumer CHECKOUT/notification is not on the server; " +
        "it should take checkout.cancelled.>, checkout.completed.>\n",
    });
    await applyTopology(shop.shop.operator);
    expect((await catalog("--check")).code).toBe(0);
  });
});
