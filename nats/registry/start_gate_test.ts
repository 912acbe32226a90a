import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Client, type NatsServer, silent, startNats } from "../../test/support/mod.ts";
import { applyTopology } from "../apply.ts";
import { commit, newHeaders } from "../commit.ts";
import { type Contract, message, orderCreated, reviewTimer, screening } from "../contracts/mod.ts";
import { publishedBy, streamHolding, topology } from "../topology.ts";
import { SCHEMAS_STREAM, settingsKey } from "./bucket.ts";
import { passStartGate, SchemaRefusedError, type StartGateOptions } from "./start_gate.ts";
import { SchemaStore } from "./store.ts";
import { compileEdited, type Edits, requiredPriority, topologyOf } from "./testing.ts";

let server: NatsServer;
let client: Client;
let store: SchemaStore;
const registryUrl = "http://registry";

beforeAll(async () => {
  server = await startNats();
  client = await server.connect();
  store = new SchemaStore(client.connection, { source: "/test", log: silent });
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});
beforeEach(async () => {
  for (const { config } of await client.jsm.streams.list().next())
    await client.jsm.streams.delete(config.name);
  await applyTopology({ servers: server.url });
  // What it knows of schemas is of the bucket that is gone.
  await store[Symbol.asyncDispose]();
  store = new SchemaStore(client.connection, { source: "/test", log: silent });
});

const pass = (service: string, options: Partial<StartGateOptions> = {}) => {
  return passStartGate({ jsm: client.jsm, store }, { service, registryUrl, log: silent, ...options });
};

/** As {@linkcode pass}, for a service of another build. */
async function passEdited(service: string, edits: Edits, options: Partial<StartGateOptions> = {}) {
  const { topology: edited, contractOf } = topologyOf(await compileEdited(edits));
  const urls = await pass(service, { topology: edited, ...options });
  return { urls, url: (contract: Contract) => urls.get(contractOf(contract)) ?? "" };
}

async function refusal(passing: Promise<unknown>): Promise<string> {
  const cause = await passing.then(
    () => undefined,
    (cause) => cause,
  );
  expect(cause).toBeInstanceOf(SchemaRefusedError);
  return cause.message;
}

async function setMode(subject: string, compatibility: string) {
  const key = settingsKey(subject);
  const id = key.subject.slice(key.contract.subject.length + 1);
  await store.change([key], () => ({
    messages: [message(key.contract, id, { compatibility })],
    result: { kind: "set" as const },
  }));
}

/** A message as its owner stores it, with a payload that nobody reads here. */
async function storeMessage(contract: Contract, id: string, dataSchema: string) {
  const headers = newHeaders();
  headers.set("ce-dataschema", dataSchema);
  const stream = streamHolding(contract)?.name ?? "";
  const stored = await commit(client.connection, stream, [
    { subject: `${contract.subject}.${id}`, data: new Uint8Array(), headers },
  ]);
  expect(stored.kind).toBe("committed");
}

const lastSeq = async () => (await client.jsm.streams.info(SCHEMAS_STREAM)).state.last_seq;

/** A message that is replaced by another one with the same number. */
const priorityAsNumber: Edits = {
  "shop/order/v1/order_created.proto": [["string attempt_id = 3;", "int64 attempt_id = 3;"]],
};

describe("passStartGate()", () => {
  it("registers what a service stores, with what that imports, and gives each contract its URL", async () => {
    const urls = await pass("order");
    expect([...urls.keys()]).toEqual(publishedBy("order"));
    for (const url of urls.values()) expect(url).toMatch(/^http:\/\/registry\/schemas\/ids\/\d+$/);
    const doc = await store.subject("order.created");
    expect(doc?.versions).toMatchObject([{ version: 1, deleted: false, registeredBy: "order" }]);
    expect(urls.get(orderCreated)).toBe(`http://registry/schemas/ids/${doc?.versions[0]?.id}`);
    const imported = await store.subject("shop/order/v1/order.proto");
    expect(imported?.versions[0]?.referrers.map(({ subject }) => subject).sort()).toEqual([
      "order.cancel_requested",
      "order.created",
    ]);
  });

  it("finds again what is registered, and writes nothing", async () => {
    const first = await pass("coordinator");
    const before = await lastSeq();
    expect(await pass("coordinator")).toEqual(first);
    expect(await lastSeq()).toBe(before);
  });

  it("is passed by all services at once, whose schemas share imports", async () => {
    const services = topology.streams.flatMap(({ owner }) => owner ?? []);
    const stores = services.map(() => new SchemaStore(client.connection, { source: "/test", log: silent }));
    const passed = await Promise.all(
      services.map((service, index) => {
        return passStartGate(
          { jsm: client.jsm, store: stores[index] ?? store },
          { service, registryUrl, log: silent },
        );
      }),
    );
    await Promise.all(stores.map((it) => it[Symbol.asyncDispose]()));
    const ids = new Map<string, string>();
    for (const [contract, url] of passed.flatMap((urls) => [...urls])) {
      const file = contract.schema.file.proto.name;
      expect(ids.get(url) ?? file).toBe(file);
      ids.set(url, file);
    }
    expect((await store.subject("shop/order/v1/order.proto"))?.versions).toHaveLength(1);
  });

  it("refuses a field that became required: subject, mode, path and everybody who reads it", async () => {
    await pass("order");
    await client.jsm.consumers.add("ORDER", { durable_name: "forgotten", filter_subject: "order.created.*" });
    const before = await lastSeq();
    const text = await refusal(passEdited("order", requiredPriority));
    expect(text).toContain("Cannot start order");
    expect(text).toMatch(
      /order\.created: BACKWARD_TRANSITIVE, .*version 1: REQUIRED_FIELD_ADDED at #\/OrderCreated\/5/,
    );
    expect(text).toContain(
      "read by coordinator, notification, analytics, monitor, forgotten (not in the topology)",
    );
    expect(text).not.toContain("order.cancel_requested");
    expect(await lastSeq()).toBe(before);
  });

  it("refuses it in a message that others import, and names each event that carries it", async () => {
    await pass("order");
    const text = await refusal(
      passEdited("order", {
        "shop/order/v1/order.proto": [
          [`syntax = "proto3";`, `edition = "2023";`],
          [
            "string shipping_priority = 5;",
            "string shipping_priority = 5 [features.field_presence = LEGACY_REQUIRED];",
          ],
        ],
      }),
    );
    expect(text).toContain("order.created: ");
    expect(text).toContain("order.cancel_requested: ");
  });

  it("lets an optional field pass as the next version", async () => {
    const first = await pass("order");
    const { url } = await passEdited("order", {
      "shop/order/v1/order_created.proto": [
        ["string attempt_id = 3;", "string attempt_id = 3;\n  string gift_note = 5;"],
      ],
    });
    expect(url(orderCreated)).not.toBe(first.get(orderCreated));
    expect((await store.subject("order.created"))?.versions.map(({ version }) => version)).toEqual([1, 2]);
    // The build of before is still there, and starts again.
    expect(await pass("order")).toEqual(first);
  });

  it("lets a build of before start again beside one whose file has a message more", async () => {
    const first = await pass("order");
    await passEdited("order", {
      "shop/order/v1/order_created.proto": [
        ["message OrderCreated {", "message Gift {}\n\nmessage OrderCreated {"],
      ],
    });
    expect(await pass("order")).toEqual(first);
  });

  it("refuses an import that its own subject refuses, before anything is registered", async () => {
    await pass("order");
    const before = await lastSeq();
    await setMode("shop/order/v1/order.proto", "FULL");
    const text = await refusal(
      passEdited("order", {
        "shop/order/v1/order.proto": [["message Customer {", "message Gift {}\n\nmessage Customer {"]],
      }),
    );
    expect(text).toMatch(/shop\/order\/v1\/order\.proto: FULL, .*MESSAGE_REMOVED/);
    expect(text).toContain("read by coordinator, notification");
    // The setting is all that was written.
    expect(await lastSeq()).toBe(before + 1);
  });

  it("off, starts whatever refuses a registration, a subject that takes none too", async () => {
    await pass("order");
    const key = settingsKey("order.created");
    const id = key.subject.slice(key.contract.subject.length + 1);
    await store.change([key], () => ({
      messages: [message(key.contract, id, { mode: "READONLY" })],
      result: { kind: "set" as const },
    }));
    const edits: Edits = {
      "shop/order/v1/order_created.proto": [
        ["string attempt_id = 3;", "string attempt_id = 3;\n  string gift_note = 5;"],
      ],
    };
    expect(await refusal(passEdited("order", edits))).toContain("read-only mode");
    const { url } = await passEdited("order", edits, { off: true });
    expect(url(orderCreated)).toMatch(/\/schemas\/ids\/\d+$/);
  });

  it("off, stores what is refused without making it a version, and says so", async () => {
    await pass("order");
    const warnings: string[] = [];
    const log = { ...silent, warn: (_: object, text: string) => void warnings.push(text) };
    const { url } = await passEdited("order", requiredPriority, { off: true, log });
    expect(warnings).toEqual([
      expect.stringMatching(/^SCHEMA_GATE=off: order\.created: .*REQUIRED_FIELD_ADDED/),
    ]);
    expect((await store.subject("order.created"))?.versions).toHaveLength(1);
    const id = Number(url(orderCreated).split("/").at(-1));
    expect((await store.schema(id))?.file.messages[0]?.fields).toHaveLength(5);
  });

  it("refuses what retained messages cannot be read with, although their version is deleted", async () => {
    const urls = await pass("order");
    await storeMessage(orderCreated, "o1", urls.get(orderCreated) ?? "");
    const deleted = await store.remove("order.created", { version: 1 });
    expect(deleted).toEqual({ kind: "deleted", versions: [1] });
    const text = await refusal(passEdited("order", priorityAsNumber));
    expect(text).toMatch(/retained, version 1 \(message 1 of ORDER, \d{4}-.*\): FIELD_SCALAR_KIND_CHANGED/);

    await client.jsm.streams.purge("ORDER");
    await passEdited("order", priorityAsNumber);
  });

  it("looks at retained versions that the mode does not look at, unless it is NONE", async () => {
    const urls = await pass("order");
    await storeMessage(orderCreated, "o1", urls.get(orderCreated) ?? "");
    await setMode("order.created", "FORWARD");
    expect(await refusal(passEdited("order", priorityAsNumber))).toContain("FORWARD");
    await setMode("order.created", "NONE");
    await passEdited("order", priorityAsNumber);
  });

  it("refuses what orders in review hold, and counts them", async () => {
    const urls = await pass("fraud");
    for (const id of ["o1", "o2"]) {
      await storeMessage(reviewTimer, id, urls.get(reviewTimer) ?? "");
      await storeMessage(screening, id, urls.get(screening) ?? "");
    }
    const text = await refusal(
      passEdited("fraud", {
        "shop/fraud/v1/screening.proto": [["string status = 2;", "int32 status = 2;"]],
      }),
    );
    expect(text).toMatch(/fraud\.screening: .*2 orders in review hold schema \d+: FIELD_SCALAR_KIND_CHANGED/);
  });

  it("fails while the registry's data cannot be read, and passes once it can", async () => {
    await client.jsm.streams.delete(SCHEMAS_STREAM);
    await expect(pass("order")).rejects.toThrow("stream not found");
    await applyTopology({ servers: server.url });
    expect((await pass("order")).size).toBe(publishedBy("order").length);
  });
});
