import { setTimeout as sleep } from "node:timers/promises";
import { AckPolicy } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyTopology,
  commit,
  newHeaders,
  orderCancelRequested,
  orderCreated,
  passStartGate,
  SchemaStore,
  topology,
} from "../nats/mod.ts";
import { compileEdited, topologyOf } from "../nats/registry/testing.ts";
import { type Client, type NatsServer, silent, startNats } from "../test/support/mod.ts";
import type { catalogJson } from "./catalog.ts";
import { contractsOf } from "./catalog_entries.ts";
import { meaningOf } from "./meanings.ts";
import { runOps } from "./program.ts";
import { collect } from "./testing.ts";

type Json = ReturnType<typeof catalogJson>;

const registryUrl = "http://registry";
let nats: NatsServer;
let client: Client;
let store: SchemaStore;

beforeAll(async () => {
  nats = await startNats();
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  store = new SchemaStore(client.connection, { source: "test", log: silent });
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

/** `npm run ops -- catalog …`. */
async function catalog(args: string[], { terminal = false, url = nats.url } = {}) {
  const { output, text } = collect();
  if (terminal) Object.assign(output.out, { isTTY: true, getColorDepth: () => 4, hasColors: () => true });
  const environment = { NATS_URL: url, DATA_DIR: "/nowhere" };
  const code = await runOps(["catalog", ...args], { output, environment });
  return { code, ...text() };
}

async function json(...args: string[]): Promise<Json> {
  return JSON.parse((await catalog(["--json", ...args])).out);
}

async function entryOf(subject: string): Promise<Json["events"][number]> {
  const [event] = (await json(subject)).events;
  if (event === undefined) throw new Error(`${subject} is not in the catalogue`);
  return event;
}

async function stored(stream: string, subject: string, dataSchema?: string): Promise<void> {
  const headers = newHeaders();
  if (dataSchema !== undefined) headers.set("ce-dataschema", dataSchema);
  const result = await commit(client.connection, stream, [{ subject, data: new Uint8Array(), headers }]);
  expect(result.kind).toBe("committed");
}

describe("ops catalog", () => {
  it("has every contract of the topology before anything is stored or registered", async () => {
    const { events, differences } = await json();
    expect(events.map(({ subject }) => subject).sort()).toEqual(
      (topology.contracts ?? []).map(({ subject }) => subject).sort(),
    );
    expect(differences).toEqual([]);
    expect(events.find(({ subject }) => subject === "checkout.state")).toEqual({
      subject: "checkout.state",
      address: "checkout.state.{order}",
      meaning: expect.stringMatching(/^one message per transition/),
      message: "shop.checkout.v1.CheckoutState",
      stream: "CHECKOUT",
      producer: "coordinator",
      schema: null,
      versions_seen: [],
      other_schemas: [],
      consumers: [{ service: "analytics", lag: 0, consumer_lag: 0, declared: true, missing: false }],
      views: ["order", "analytics", "monitor"],
      last_seen: null,
    });
  });

  it("sees the versions that messages name, and schemas that are no version", async () => {
    const urls = await passStartGate(
      { jsm: client.jsm, store },
      { service: "order", registryUrl, log: silent },
    );
    const first = urls.get(orderCreated);
    await stored("ORDER", "order.created.o1", first);
    expect(await entryOf("order.created")).toMatchObject({
      schema: { version: 1 },
      versions_seen: [1],
      other_schemas: [],
    });

    const edited = await compileEdited({
      "shop/order/v1/order_created.proto": [["Order order = 1;", "Order order = 1;\n  string channel = 9;"]],
    });
    const next = topologyOf(edited);
    await sleep(5); // What is stored now is behind the registration in time, by the clock of one machine.
    const later = await passStartGate(
      { jsm: client.jsm, store },
      { service: "order", registryUrl, log: silent, topology: next.topology },
    );
    expect(await entryOf("order.created")).toMatchObject({ schema: { version: 2 }, versions_seen: [1] });
    // An instance of the version before goes on for a while, and is the last to store something, too.
    await stored("ORDER", "order.created.o2", first);
    await stored("ORDER", "order.created.o3", later.get(next.contractOf(orderCreated)));
    await stored("ORDER", "order.created.o4", first);
    expect(await entryOf("order.created")).toMatchObject({ versions_seen: [1, 2], other_schemas: [] });
    await stored("ORDER", "order.created.o5");
    const { other_schemas, last_seen } = await entryOf("order.created");
    expect(other_schemas).toEqual([null]);
    expect(last_seen).toEqual({ sequence: 5, time: expect.stringMatching(/^2.*Z$/) });
  });

  it("counts what a consumer has not acknowledged, of each event that it takes", async () => {
    await stored("ORDER", "order.cancel_requested.o1");
    const lags = async () => {
      const { events } = await json("order");
      return events.flatMap(({ subject, consumers }) =>
        consumers.map(({ service, lag, consumer_lag }) => `${subject} ${service} ${lag} of ${consumer_lag}`),
      );
    };
    expect(await lags()).toEqual([
      "order.cancel_requested coordinator 1 of 6",
      "order.cancel_requested analytics 1 of 6",
      "order.created coordinator 5 of 6",
      "order.created notification 5 of 5",
      "order.created analytics 5 of 6",
    ]);
    const consumer = await client.js.consumers.get("ORDER", "coordinator");
    const messages: { ack(): void }[] = [];
    for await (const message of await consumer.fetch({ max_messages: 6 })) messages.push(message);
    for (const message of messages.slice(0, 2)) message.ack();
    await client.connection.flush();
    // Delivered and not acknowledged is not done.
    expect(await lags()).toContain("order.created coordinator 3 of 4");
    for (const message of messages.slice(2, 5)) message.ack();
    await client.connection.flush();
    expect(await lags()).toEqual([
      "order.cancel_requested coordinator 1 of 1",
      "order.cancel_requested analytics 1 of 6",
      "order.created coordinator 0 of 1",
      "order.created notification 5 of 5",
      "order.created analytics 5 of 6",
    ]);
  });

  it("is a table that fits a terminal, with colours on a terminal only", async () => {
    const plain = await catalog([]);
    expect(plain.code).toBe(0);
    const lines = plain.out.trimEnd().split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(plain.out).not.toContain("\u001B");
    expect(lines[0]).toMatch(/^EVENT +PRODUCER +SCHEMA +SEEN +CONSUMER +LAG +LAST MESSAGE$/);
    const at = lines.findIndex((line) => line.startsWith("order.created"));
    expect(lines[at]).toMatch(/ order +\d+ v2 +v1 v2 +coordinator +0 +2\d{3}-/);
    expect(lines[at + 1]).toMatch(/^ +notification +5$/);
    expect(plain.err).toContain("order also looks into CHECKOUT");
    const colours = await catalog(["order"], { terminal: true });
    expect(colours.out.split("\n").map((line) => JSON.stringify(line))).toContainEqual(
      expect.stringMatching(/\\u001b\[33m +notification +5\\u001b/),
    );
  });

  it("tells of consumers that are not as the topology says, and ends with 1 if it is to check them", async () => {
    const { jsm } = client;
    expect(await catalog(["--check"])).toMatchObject({ code: 0, out: "" });
    const name = "a-consumer-whose-name-is-far-longer-than-what-a-line-has-room-for";
    await jsm.consumers.add("CHECKOUT", {
      durable_name: name,
      ack_policy: AckPolicy.None,
      filter_subject: "checkout.*.o1",
    });
    await jsm.consumers.update("ORDER", "coordinator", { filter_subjects: ["order.created.>"] });
    await jsm.consumers.delete("FRAUD", "fraud");

    const check = await catalog(["--check"]);
    expect(check.code).toBe(1);
    expect(check.out.trim().split("\n")).toEqual([
      "consumer ORDER/coordinator takes order.created.> and should take order.cancel_requested.>, order.created.>",
      `consumer CHECKOUT/${name} is not in the topology; it takes checkout.*.o1`,
      "consumer FRAUD/fraud is not on the server; it should take fraud.review_due.>",
    ]);
    expect((await catalog(["--check", "fraud"])).out.trim().split("\n")).toHaveLength(1);
    expect(await catalog(["--check", "inventory"])).toMatchObject({ code: 0, out: "" });

    const shown = await catalog([]);
    expect(shown).toMatchObject({ code: 0, err: expect.stringContaining(check.out) });
    expect(Math.max(...shown.out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(shown.out).toMatch(/^order.cancel_requested .*coordinator +missing/m);
    expect(shown.out).toMatch(/a-consumer.*… +0, undeclared/);
    const { events, differences } = await json();
    expect(differences.map(({ kind }) => kind)).toEqual(["filter", "undeclared", "missing"]);
    expect(events.find(({ subject }) => subject === "checkout.timer")?.consumers).toEqual([
      { service: name, lag: 0, consumer_lag: 0, declared: false, missing: false },
    ]);
    const document = await catalog(["--asyncapi", "--check", "fraud"]);
    expect(document.code).toBe(1);
    expect(JSON.parse(document.out).operations["fraud.receive.fraud.review_due"]).toMatchObject({
      "x-missing": true,
    });
  });

  it("ends with 2 when it is called wrongly, and finds everything missing on an empty server", async () => {
    expect(await catalog(["order.shipped"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("order.shipped"),
    });
    expect((await catalog(["--json", "--asyncapi"])).code).toBe(2);
    await using empty = await startNats();
    const { code, out } = await catalog(["--check"], { url: empty.url });
    expect(code).toBe(1);
    expect(out.trim().split("\n")).toHaveLength(topology.consumers.length);
    const document = JSON.parse((await catalog(["--asyncapi"], { url: empty.url })).out);
    expect(Object.keys(document.channels)).toHaveLength(contractsOf(topology).length);
  });
});

describe("meaningOf()", () => {
  it("takes the comment over the message, if it is of that subject", async () => {
    expect(await meaningOf(orderCancelRequested)).toEqual({
      address: "order.cancel_requested.{order}",
      parameters: ["order"],
      meaning: "the customer asked to cancel. The coordinator decides whether it is in time.",
    });
    const of = (subject: string) => {
      const found = contractsOf(topology).find((contract) => contract.subject === subject);
      if (found === undefined) throw new Error(`there is no ${subject}`);
      return meaningOf(found);
    };
    expect(await of("checkout.timer")).toMatchObject({ address: "checkout.timer.{id}", meaning: undefined });
    expect(await of("notification.mail")).toMatchObject({ parameters: ["order", "kind"] });
    expect(await of("order.id_secret")).toMatchObject({
      address: "order.id_secret.{copy}",
      parameters: ["copy"],
    });
    expect(await of("order.idempotency_key")).toMatchObject({ parameters: ["sha256_of_the_key"] });
  });
});
