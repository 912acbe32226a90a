import { create } from "@bufbuild/protobuf";
import {
  type FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromFileSet } from "../../schemas/mod.ts";
import { type Client, silent, startNats } from "../../test/support/mod.ts";
import { applyTopology } from "../apply.ts";
import { message } from "../contracts/contract.ts";
import { SCHEMAS, SCHEMAS_STREAM, settingsKey } from "./bucket.ts";
import { candidateOf } from "./start_gate.ts";
import { SchemaStore } from "./store.ts";
import type { Candidate } from "./view.ts";

const stack = new AsyncDisposableStack();
let client: Client;
let one: SchemaStore;
let other: SchemaStore;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  const buckets = [{ name: SCHEMAS, owner: "registry", description: "Schemas" }];
  await applyTopology({ servers: nats.url, topology: { streams: [], buckets, consumers: [] } });
  client = await nats.connect();
  const open = () => stack.use(new SchemaStore(client.connection, { source: "/services/test", log: silent }));
  [one, other] = [open(), open()];
});
afterAll(() => stack.disposeAsync());

function candidate(name: string, type: FieldDescriptorProto_Type = Type.INT32): Candidate {
  const field = { name: "a", number: 1, label: 1, type };
  const messageType = [{ name, field: [field] }];
  const proto = create(FileDescriptorProtoSchema, { name: "schema.proto", syntax: "proto3", messageType });
  return candidateOf(
    fromFileSet({ $typeName: "google.protobuf.FileDescriptorSet", file: [proto] }),
    new Map(),
  );
}

const by = () => ({ by: "test", now: new Date("2026-01-01T00:00:00Z") });
const lastSequence = async () => (await client.jsm.streams.info(SCHEMAS_STREAM)).state.last_seq;

describe("SchemaStore", () => {
  it("reads in one process what another has registered", async () => {
    const sent = candidate("A");
    const { id } = (await one.register("a", sent, by())) as { id: number };
    expect(await other.register("a", sent, by())).toEqual({
      kind: "registered",
      id,
      version: 1,
      isNew: false,
    });
    const { guid, file, references } = (await other.schema(id)) ?? {};
    expect([guid, file?.messages.map(({ name }) => name), references]).toEqual([sent.guid, ["A"], []]);
    expect(await other.subject("a")).toMatchObject({
      name: "a",
      versions: [{ version: 1, id, registeredBy: "test" }],
    });
    expect(await other.schema(999)).toBeUndefined();
    expect(await other.subject("nobody")).toBeUndefined();
  });

  it("checks again what somebody else was faster with", async () => {
    const names = Array.from({ length: 20 }, (_, n) => `race-${n}`);
    const results = await Promise.all(
      names.map((name) =>
        Promise.all([
          one.register(name, candidate("R"), by()),
          other.register(name, candidate("R", Type.STRING), by()),
        ]),
      ),
    );
    for (const pair of results)
      expect(pair.map(({ kind }) => kind).sort()).toEqual(["incompatible", "registered"]);
  });

  it("decides on settings that another process has just changed", async () => {
    await one.register("s", candidate("S"), by());
    const set = async (settings: object) => {
      const key = settingsKey("s");
      const id = key.subject.slice(key.contract.subject.length + 1);
      const messages = [message(key.contract, id, settings)];
      await other.change([key], () => ({ messages, result: { kind: "set" as const } }));
    };
    await set({ mode: "READONLY" });
    const before = await lastSequence();
    expect(await one.register("s", candidate("S2"), by())).toMatchObject({ error: { code: 42205 } });
    expect(await one.remove("s", {})).toMatchObject({ error: { code: 42205 } });
    expect(await lastSequence()).toBe(before);
    await set({ compatibility: "NONE" });
    expect(await one.register("s", candidate("S", Type.STRING), by())).toMatchObject({ version: 2 });
  });

  it("stores a schema that is nobody's version, once", async () => {
    const id = await one.store(candidate("Stored"));
    expect(await other.store(candidate("Stored"))).toBe(id);
    expect(await other.register("stored", candidate("Stored"), by())).toMatchObject({ id, isNew: true });
  });

  it("takes subjects of any characters", async () => {
    for (const name of ["a.b", "*", ">", " ", "€/é", "x".repeat(255)]) {
      expect(await one.register(name, candidate("A"), by())).toMatchObject({ version: 1 });
      expect(await other.subject(name)).toMatchObject({ name });
    }
  });

  it("gives up when its signal says so", async () => {
    const options = { ...by(), signal: AbortSignal.abort() };
    await expect(one.register("late", candidate("A"), options)).rejects.toThrow("no answer in time");
  });
});
