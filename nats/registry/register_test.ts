import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Type, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, it } from "vitest";
import { fromFileSet, type Reference, schemaGuid } from "../../schemas/mod.ts";
import { MemoryView } from "../../test/support/mod.ts";
import { type Key, message } from "../contracts/contract.ts";
import { globalSettingsKey, guidKey, schemaKey, settingsKey, subjectKey } from "./bucket.ts";
import { idOf, MAX_ID, MAX_VERSIONS, register } from "./register.ts";
import { remove } from "./remove.ts";
import { compatibilityOf, modeOf, normalizes } from "./settings.ts";
import type { Candidate, RegistryView, StoredSchema } from "./view.ts";

const { INT32, STRING } = FieldDescriptorProto_Type;

/** A schema of one field. */
function candidate(
  type: FieldDescriptorProto_Type = INT32,
  references: readonly Reference[] = [],
): Candidate {
  const field = { name: "a", number: 1, label: 1, type };
  const proto = create(FileDescriptorProtoSchema, {
    name: "schema.proto",
    syntax: "proto3",
    messageType: [{ name: "M", field: [field] }],
  });
  const file = fromFileSet({ $typeName: "google.protobuf.FileDescriptorSet", file: [proto] });
  return { guid: schemaGuid(proto, references), file, fileSet: new Uint8Array(), text: "", references };
}

describe("register() and remove()", () => {
  const now = new Date("2026-01-01T00:00:00Z");
  let memory: MemoryView;
  let loaded: Map<number, StoredSchema>;
  let view: RegistryView;

  beforeEach(() => {
    memory = new MemoryView();
    loaded = new Map();
    view = {
      has: () => true,
      get: ({ subject, contract }) => memory.get(contract, subject.slice(contract.subject.length + 1)),
      schema: (id) => loaded.get(id),
    };
  });

  function put<S extends DescMessage>({ subject, contract }: Key<S>, value: Partial<MessageShape<S>>): void {
    const id = subject.slice(contract.subject.length + 1);
    memory.store([message(contract, id, value as MessageShape<S>)]);
  }

  function tryRegister(subject: string, of: Candidate, options: { id?: number; version?: number } = {}) {
    const { messages, result } = register(view, { subject, candidate: of }, { by: "test", now, ...options });
    memory.store(messages);
    if (result.kind === "registered") loaded.set(result.id, { ...of, id: result.id });
    return result;
  }

  function tryRemove(subject: string, options: { version?: number; permanent?: boolean } = {}) {
    const { messages, result } = remove(view, subject, options);
    memory.store(messages);
    return result;
  }

  const docOf = (subject: string) => view.get(subjectKey(subject));
  const refused = (code: number) => ({ kind: "refused", error: { code } });

  it("says which schemas it has to see before it compares", () => {
    tryRegister("s", candidate());
    loaded.clear();
    expect(tryRegister("s", candidate(STRING))).toEqual({
      kind: "unread",
      ids: [idOf(candidate().guid)],
      keys: [],
    });
    put(settingsKey("s"), { mode: "READONLY" });
    expect(tryRegister("s", candidate(STRING))).toMatchObject(refused(42205));
    expect(tryRemove("s")).toMatchObject(refused(42205));
  });

  it("says which subjects it has to see before it deletes what imports them", () => {
    tryRegister("base", candidate(STRING));
    tryRegister("s", candidate(INT32, [{ name: "base.proto", subject: "base", version: 1 }]));
    const has = (key: Key) => key.subject !== subjectKey("base").subject;
    expect(remove({ ...view, has }, "s", {})).toEqual({
      messages: [],
      result: { kind: "unread", ids: [], keys: [subjectKey("base")] },
    });
  });

  it("writes one document where a version imports others of its own subject", () => {
    put(settingsKey("s"), { compatibility: "NONE" });
    tryRegister("s", candidate());
    const references = [
      { name: "old.proto", subject: "s", version: 1 },
      { name: "same.proto", subject: "s", version: 1 },
    ];
    tryRegister("s", candidate(STRING, references));
    expect(docOf("s")?.versions).toMatchObject([
      { version: 1, referrers: [{ subject: "s", version: 2, id: idOf(candidate(STRING, references).guid) }] },
      { version: 2, referrers: [] },
    ]);
    expect(tryRemove("s", { version: 1 })).toMatchObject(refused(42206));
    expect(tryRemove("s")).toEqual({ kind: "deleted", versions: [1, 2] });
    expect(docOf("s")?.versions).toMatchObject([{ referrers: [], deleted: true }, { deleted: true }]);
  });

  it("refuses a reference that was deleted after it was looked up", () => {
    tryRegister("base", candidate(STRING));
    tryRemove("base");
    const references = [{ name: "base.proto", subject: "base", version: 1 }];
    expect(tryRegister("s", candidate(INT32, references))).toMatchObject(refused(42201));
    expect(docOf("s")).toBeUndefined();
  });

  it("remembers once which ids were deleted for good, until one is back", () => {
    for (const _ of [1, 2]) {
      tryRegister("s", candidate());
      tryRemove("s");
    }
    expect(tryRemove("s", { permanent: true })).toEqual({ kind: "deleted", versions: [1, 2] });
    const id = idOf(candidate().guid);
    expect(docOf("s")).toMatchObject({ versions: [], removedIds: [id] });
    expect(tryRemove("s")).toMatchObject(refused(40401));
    expect(tryRegister("s", candidate())).toMatchObject({ id, version: 1 });
    expect(docOf("s")?.removedIds).toEqual([]);
  });

  it("makes the id of what the schema says, the same in a registry that has lost its data", () => {
    put(settingsKey("s"), { compatibility: "NONE" });
    const ids = [candidate(), candidate(STRING)].map((it) => tryRegister("s", it));
    memory = new MemoryView();
    put(settingsKey("other"), { compatibility: "NONE" });
    const again = [candidate(STRING), candidate()].map((it) => tryRegister("other", it));
    expect(again.map((it) => "id" in it && it.id).toReversed()).toEqual(ids.map((it) => "id" in it && it.id));
    for (const hex of ["00000000", "3b9ac9fe", "3b9ac9ff", "ffffffff"]) {
      expect(idOf(`${hex}-0000-8000-8000-000000000000`)).toBeGreaterThanOrEqual(1);
      expect(idOf(`${hex}-0000-8000-8000-000000000000`)).toBeLessThanOrEqual(MAX_ID);
    }
  });

  it("takes the next id that is free where another schema has the same, once it has seen that it is", () => {
    const { guid } = candidate();
    const id = idOf(guid);
    put(schemaKey(id), { id, guid: "another" });
    put(schemaKey(id + 1), { id: id + 1, guid: "a third" });
    const has = (key: Key) => key.subject !== schemaKey(id + 2).subject;
    const asked = { subject: "s", candidate: candidate() };
    expect(register({ ...view, has }, asked, { by: "test", now }).result).toEqual({
      kind: "unread",
      ids: [],
      keys: [schemaKey(id + 2)],
    });
    expect(tryRegister("s", candidate())).toMatchObject({ kind: "registered", id: id + 2 });
    // What has one needs no other.
    expect(tryRegister("other", candidate())).toMatchObject({ kind: "registered", id: id + 2 });
  });

  it("keeps the id of a schema of which only the note by its guid is lost", () => {
    const { guid } = candidate();
    put(schemaKey(idOf(guid)), { id: idOf(guid), guid });
    expect(tryRegister("s", candidate())).toMatchObject({ kind: "registered", id: idOf(guid) });
    expect(view.get(guidKey(guid))?.id).toBe(idOf(guid));
  });

  it("ends where versions end, however many or high they are", () => {
    put(settingsKey("s"), { mode: "IMPORT" });
    expect(tryRegister("s", candidate(), { id: 5, version: 2_147_483_647 })).toMatchObject({
      kind: "registered",
    });
    expect(tryRegister("s", candidate(STRING), { id: 6 })).toMatchObject(refused(42205));
    const versions = Array.from({ length: MAX_VERSIONS }, (_, n) => {
      return { version: n + 1, id: 5, deleted: true, registeredBy: "", referrers: [] };
    });
    put(subjectKey("full"), create(subjectKey("full").contract.schema, { name: "full", versions }));
    expect(tryRegister("full", candidate())).toMatchObject(refused(42209));
  });

  it("refuses what would make a subject larger than a message may be", () => {
    const referrers = Array.from({ length: 3_500 }, (_, n) => ({
      subject: "x".repeat(255),
      version: n + 1,
      id: 5,
    }));
    const versions = [{ version: 1, id: 5, deleted: false, registeredBy: "", referrers }];
    put(subjectKey("base"), create(subjectKey("base").contract.schema, { name: "base", versions }));
    const references = [{ name: "base.proto", subject: "base", version: 1 }];
    expect(tryRegister("s", candidate(INT32, references))).toMatchObject(refused(42209));
    expect(docOf("s")).toBeUndefined();
  });

  it("takes an id that somebody chose only where nobody else has it", () => {
    put(globalSettingsKey, { mode: "IMPORT" });
    expect(tryRegister("s", candidate(), { id: 40 })).toMatchObject({ id: 40, version: 1 });
    expect(tryRegister("t", candidate(STRING), { id: 40 })).toMatchObject(refused(42207));
    expect(tryRegister("t", candidate(), { id: 41 })).toMatchObject(refused(42207));
    expect(tryRegister("t", candidate(), { id: 40, version: 9 })).toMatchObject({ id: 40, version: 9 });
    expect(tryRegister("t", candidate(STRING), { id: 41, version: 9 })).toMatchObject(refused(42205));
    expect(tryRegister("t", candidate(STRING), { id: 7, version: 3 })).toMatchObject({ id: 7 });
    expect(docOf("t")?.versions.map(({ version }) => version)).toEqual([3, 9]);
    expect(view.get(schemaKey(7))?.id).toBe(7);
  });

  it("lets a subject's settings go before the global ones, and those before the default", () => {
    expect([compatibilityOf(view, "s"), modeOf(view, "s"), normalizes(view, "s")]).toEqual([
      "BACKWARD_TRANSITIVE",
      "READWRITE",
      false,
    ]);
    put(globalSettingsKey, { compatibility: "FULL", mode: "READONLY", normalize: true });
    put(settingsKey("s"), { compatibility: "NONE", normalize: false });
    expect([compatibilityOf(view, "s"), modeOf(view, "s"), normalizes(view, "s")]).toEqual([
      "NONE",
      "READONLY",
      false,
    ]);
  });
});
