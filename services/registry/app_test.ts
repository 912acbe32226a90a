import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startNats } from "../../test/support/mod.ts";
import { type Answer, openApp, protoOf, startRegistry, type TestRegistry } from "./test_support.ts";

const stack = new AsyncDisposableStack();
let registry: TestRegistry;
let ask: TestRegistry["ask"];
/** A subject of each test's own. */
let s: string;
let serial = 0;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  registry = stack.use(await startRegistry(nats));
  ask = registry.ask;
});
afterAll(() => stack.disposeAsync());
beforeEach(() => {
  s = `orders-${++serial}`;
});

// Few schemas, since each new one is compiled.
const order = protoOf("int32 id = 1;");
const orderAdded = protoOf("int32 id = 1;\n  string note = 2;");
const orderBroken = protoOf("string id = 1;");

const get = (path: string, query = "") => ask("GET", path, undefined, { query });
const post = (path: string, body: unknown, query = "") => ask("POST", path, body, { query });
const put = (path: string, body: unknown, query = "") => ask("PUT", path, body, { query });
const del = (path: string, query = "") => ask("DELETE", path, undefined, { query });
const register = (subject: string, schema: string, more: object = {}, query = "") =>
  post(`/subjects/${subject}/versions`, { schema, schemaType: "PROTOBUF", ...more }, query);
const error = (code: number, text: string | RegExp = "") => ({
  status: Math.floor(code / 100),
  body: { error_code: code, message: typeof text === "string" ? expect.stringContaining(text) : text },
});
const ok = (body: unknown): Answer => ({ status: 200, body });

async function idOf(subject: string, schema: string, more: object = {}): Promise<number> {
  const { status, body } = await register(subject, schema, more);
  expect({ status, body }).toMatchObject({ status: 200 });
  return body.id;
}

describe("POST /subjects/{s}/versions", () => {
  it("registers a first version, and finds it again", async () => {
    const first = await register(s, order);
    expect(first).toEqual(
      ok({ id: expect.any(Number), version: 1, guid: expect.stringMatching(/^[0-9a-f-]{36}$/) }),
    );
    const before = await registry.lastSequence();
    expect(await register(s, order)).toEqual(first);
    expect(await registry.lastSequence()).toBe(before);
    expect(await get("/subjects")).toEqual(ok(expect.arrayContaining([s])));
  });

  it("gives a schema the same id under each subject", async () => {
    const id = await idOf(s, order);
    expect(await register(`${s}-b`, order)).toMatchObject({ body: { id, version: 1 } });
    expect(await get(`/schemas/ids/${id}/subjects`)).toEqual(ok(expect.arrayContaining([s, `${s}-b`])));
    const uses = [
      { subject: s, version: 1 },
      { subject: `${s}-b`, version: 1 },
    ];
    expect(await get(`/schemas/ids/${id}/versions`)).toEqual(ok(expect.arrayContaining(uses)));
  });

  it("gives text and a descriptor of it one id, whichever comes first", async () => {
    const id = await idOf(s, order);
    const { body: serialized } = await get(`/subjects/${s}/versions/1/schema`, "format=serialized");
    expect(await register(`${s}-b`, serialized)).toMatchObject({ body: { id } });
    const other = protoOf(`int32 id = ${1_000 + serial};`, { name: "Other" });
    const { body } = await register(`${s}-text`, other);
    const descriptor = await get(`/schemas/ids/${body.id}`, "format=serialized");
    expect(await register(`${s}-descriptor`, descriptor.body.schema)).toMatchObject({
      body: { id: body.id },
    });
  });

  it("answers 409 with every difference to a version that the mode lets not follow, and stores nothing", async () => {
    await register(s, order);
    const before = await registry.lastSequence();
    const refused = await register(s, orderBroken.replace("package shop", "package other"));
    expect(refused).toEqual(error(40901, s));
    expect(refused.status).toBe(409);
    expect(refused.body.message).toContain("BACKWARD_TRANSITIVE");
    expect(refused.body.message).toMatch(/PACKAGE_CHANGED/i);
    expect(await registry.lastSequence()).toBe(before);
  });

  it("answers 42201 with the compiler's file, line and column", async () => {
    expect(await register(s, 'syntax = "proto3";\nmessage M {\n  Unknown a = 1;\n}\n')).toEqual(
      error(42201, "schema.proto:3:3: cannot find `Unknown` in this scope"),
    );
    const { body } = await register(s, "message 1;\n".repeat(1_000));
    expect(body.message.split("\n")).toHaveLength(21);
    expect(body.message).toMatch(/and \d+ more$/);
  });

  it("takes well-known types without a reference", async () => {
    const imports = ["google/protobuf/timestamp.proto"];
    await idOf(s, protoOf("google.protobuf.Timestamp at = 1;", { name: "Dated", imports }));
  });

  it("takes the next version's number, and no other, without IMPORT", async () => {
    expect(await register(s, order, { version: 2 })).toEqual(error(42201, "is 1 and not 2"));
    expect(await register(s, order, { version: 1, id: -1 })).toMatchObject({ body: { version: 1 } });
    expect(await register(s, orderAdded, { version: 2_147_483_647 })).toEqual(error(42201, "is 2"));
  });

  it("refuses an id of the client's choice without IMPORT", async () => {
    expect(await register(s, order, { id: 900 })).toEqual(error(42205, "import mode"));
  });

  it("normalizes for a query, and for a subject's config", async () => {
    const [one, other] = [
      'syntax = "proto3";\nenum B { B0 = 0; }\nenum A { A0 = 0; }\n',
      'syntax = "proto3";\nenum A { A0 = 0; }\nenum B { B0 = 0; }\n',
    ];
    expect(await idOf(`${s}-plain`, one)).not.toBe(await idOf(`${s}-other`, other));
    const { body } = await register(s, one, {}, "normalize=true");
    expect(await register(s, other, {}, "normalize=true")).toEqual(ok(body));
    await put(`/config/${s}-by-config`, { normalize: true });
    expect(await register(`${s}-by-config`, one)).toMatchObject({ body: { id: body.id } });
    expect(await post(`/subjects/${s}-by-config`, { schema: other })).toMatchObject({
      body: { id: body.id },
    });
    expect(await post(`/subjects/${s}`, { schema: one }, "normalize=true")).toMatchObject({ status: 200 });
  });

  it("holds no other language", async () => {
    const body = { schemaType: "AVRO", schema: '{"type":"string"}' };
    expect(await post(`/subjects/${s}/versions`, body)).toEqual(error(42201, "AVRO"));
    expect(await get("/schemas/types")).toEqual(ok(["PROTOBUF"]));
  });
});

describe("references", () => {
  const money = protoOf("int64 cents = 1;", { name: "Money" });
  const priced = protoOf("Money price = 1;", { name: "Priced", imports: ["shop/money.proto"] });
  const reference = (version: number) => ({ name: "shop/money.proto", subject: `${s}-money`, version });

  it("bring what a schema imports, and keep it there", async () => {
    await register(`${s}-money`, money);
    const id = await idOf(s, priced, { references: [reference(-1)] });
    const stored = { references: [reference(1)], schema: priced, schemaType: "PROTOBUF" };
    expect(await get(`/schemas/ids/${id}`)).toEqual(ok({ ...stored, guid: expect.any(String) }));
    expect(await get(`/subjects/${s}-money/versions/1/referencedby`)).toEqual(ok([id]));
    expect(await get(`/subjects/${s}/versions/latest/referencedby`)).toEqual(ok([]));
    expect(await post(`/subjects/${s}`, { schema: priced, references: [reference(1)] })).toMatchObject({
      body: { id },
    });

    const exists = error(42206, s);
    expect(await del(`/subjects/${s}-money/versions/1`)).toEqual(exists);
    expect(await del(`/subjects/${s}-money`)).toEqual(exists);
    expect(await del(`/subjects/${s}`)).toEqual(ok([1]));
    expect(await get(`/subjects/${s}-money/versions/1/referencedby`)).toEqual(ok([]));
    expect(await del(`/subjects/${s}-money/versions/latest`)).toEqual(ok(1));
    // What was registered with it is there still, whole; what is new cannot have it.
    expect(await get(`/schemas/ids/${id}`)).toMatchObject({ body: stored });
    expect(await register(s, priced, { references: [reference(1)] })).toEqual(error(42201, "no version 1"));
  });

  it("may be to an earlier version of the same subject", async () => {
    await put(`/config/${s}`, { compatibility: "NONE" });
    await register(s, money);
    const own = { ...reference(1), subject: s };
    expect(await register(s, priced, { references: [own] })).toMatchObject({ body: { version: 2 } });
    expect(await get(`/subjects/${s}/versions`)).toEqual(ok([1, 2]));
    expect(await del(`/subjects/${s}/versions/1`)).toEqual(error(42206));
    expect(await del(`/subjects/${s}/versions/2`)).toEqual(ok(2));
    expect(await del(`/subjects/${s}/versions/1`)).toEqual(ok(1));
  });
});

describe("what is registered", () => {
  it("is found by version, by id and by guid, as JSON and as text", async () => {
    const {
      body: { id, guid },
    } = await register(s, order);
    const schema = { guid, schemaType: "PROTOBUF", schema: order };
    for (const version of ["1", "latest", "-1"]) {
      expect(await get(`/subjects/${s}/versions/${version}`)).toEqual(
        ok({ subject: s, version: 1, id, ...schema }),
      );
      expect(await get(`/subjects/${s}/versions/${version}/schema`)).toEqual(ok(order));
    }
    expect(await get(`/schemas/ids/${id}`)).toEqual(ok(schema));
    expect(await get(`/schemas/ids/${id}/schema`)).toEqual(ok(order));
    expect(await get(`/schemas/ids/${id}`, `subject=${s}&fetchMaxId=true`)).toEqual(
      ok({ ...schema, maxId: id }),
    );
    expect(await get(`/schemas/guids/${guid}`)).toEqual(ok(schema));
    expect(await get(`/schemas/guids/${guid.toUpperCase()}`)).toEqual(ok(schema));
    expect(await get(`/schemas/guids/${guid}/ids`)).toEqual(ok([{ context: ".", id }]));
    expect(await post(`/subjects/${s}`, { schema: order })).toEqual(
      ok({ subject: s, version: 1, id, ...schema }),
    );
  });

  it("is a FileDescriptorProto in base64 with format=serialized", async () => {
    const id = await idOf(s, order);
    const { body } = await get(`/schemas/ids/${id}`, "format=serialized");
    const file = fromBinary(FileDescriptorProtoSchema, Buffer.from(body.schema, "base64"));
    expect(file).toMatchObject({ package: "shop", syntax: "proto3", messageType: [{ name: "Order" }] });
  });

  it("is listed by prefix, and page by page", async () => {
    for (const name of ["a", "b", "c"]) await register(`${s}.${name}`, order);
    expect(await get("/subjects", `subjectPrefix=${s}.`)).toEqual(ok([`${s}.a`, `${s}.b`, `${s}.c`]));
    expect(await get("/subjects", `subjectPrefix=:.:${s}.`)).toMatchObject({ body: { length: 3 } });
    expect(await get("/subjects", `subjectPrefix=:*:${s}.&offset=1&limit=1`)).toEqual(ok([`${s}.b`]));
    expect(await register(`:.:${s}.a`, order)).toMatchObject({ body: { version: 1 } });
  });

  it("answers 40401, 40402 and 40403 for what there is not", async () => {
    const schema = { schema: order };
    expect(await get(`/subjects/${s}/versions`)).toEqual(error(40401, s));
    expect(await get(`/subjects/${s}/versions/1`)).toEqual(error(40401, s));
    expect(await post(`/subjects/${s}`, schema)).toEqual(error(40401, s));
    expect(await del(`/subjects/${s}`)).toEqual(error(40401, s));
    expect(await del(`/subjects/${s}/versions/1`)).toEqual(error(40401, s));
    const {
      body: { id },
    } = await register(s, order);
    for (const path of ["", "/schema", "/referencedby"]) {
      expect(await get(`/subjects/${s}/versions/7${path}`)).toEqual(error(40402, "7"));
    }
    expect(await del(`/subjects/${s}/versions/7`)).toEqual(error(40402, "7"));
    expect(await post(`/subjects/${s}`, { schema: orderBroken })).toEqual(error(40403));
    for (const path of ["", "/schema", "/subjects", "/versions"]) {
      expect(await get(`/schemas/ids/999999${path}`)).toEqual(error(40403, "999999"));
    }
    // Which context to look in, and no filter.
    expect(await get(`/schemas/ids/${id}`, "subject=nobody")).toMatchObject({ status: 200 });
    for (const wrong of ["0", "x", "99999999999", "1.5"]) {
      expect(await get(`/schemas/ids/${wrong}`)).toEqual(error(40403));
    }
    expect(await get("/schemas/guids/00000000-0000-8000-8000-000000000000")).toEqual(error(40403));
    expect(await get("/schemas/guids/x")).toEqual(error(40403));
  });

  it("has versions from 1 to 2^31-1", async () => {
    await register(s, order);
    for (const version of ["0", "-2", "x", "1e3", "2147483648", "9".repeat(40), "%20"]) {
      expect(await get(`/subjects/${s}/versions/${version}`)).toEqual(error(42202));
      expect(await del(`/subjects/${s}/versions/${version}`)).toEqual(error(42202));
      const path = `/compatibility/subjects/${s}/versions/${version}`;
      expect(await post(path, { schema: order })).toEqual(error(42202));
    }
    expect(await get(`/subjects/${s}/versions/2147483647`)).toEqual(error(40402));
  });
});

describe("DELETE", () => {
  it("is soft at first, then for good with permanent=true", async () => {
    const {
      body: { id, guid },
    } = await register(s, orderAdded.replace("Order", `Order${serial}`));
    const version = `/subjects/${s}/versions/1`;
    expect(await del(version, "permanent=true")).toEqual(error(40407, "not deleted first"));
    expect(await del(version)).toEqual(ok(1));
    expect(await del(version)).toEqual(error(40406, "permanent=true"));
    expect(await get(version)).toEqual(error(40401));
    expect(await get(version, "deleted=true")).toMatchObject({ body: { id } });
    expect(await get("/subjects", `subjectPrefix=${s}`)).toEqual(ok([]));
    expect(await get("/subjects", `subjectPrefix=${s}&deleted=true`)).toEqual(ok([s]));
    expect(await get("/subjects", `subjectPrefix=${s}&deletedOnly=true`)).toEqual(ok([s]));
    expect(await get(`/subjects/${s}/versions`, "deleted=true")).toEqual(ok([1]));
    expect(await get(`/schemas/ids/${id}`)).toMatchObject({ status: 200 });
    expect(await get(`/schemas/ids/${id}/subjects`)).toEqual(ok([]));
    expect(await get(`/schemas/ids/${id}/subjects`, "deleted=true")).toEqual(ok([s]));
    expect(await get(`/schemas/ids/${id}/versions`, "deleted=true")).toEqual(
      ok([{ subject: s, version: 1 }]),
    );

    expect(await del(version, "permanent=true")).toEqual(ok(1));
    expect(await del(version, "permanent=true")).toEqual(error(40401));
    expect(await get(version, "deleted=true")).toEqual(error(40401));
    expect(await get(`/schemas/ids/${id}`)).toEqual(error(40403));
    expect(await get(`/schemas/guids/${guid}`)).toEqual(error(40403));
    // The id is that schema's for ever.
    expect(await register(s, orderAdded.replace("Order", `Order${serial}`))).toMatchObject({
      body: { id, version: 1 },
    });
    expect(await get(`/schemas/guids/${guid}`)).toMatchObject({ status: 200 });
  });

  it("takes a whole subject", async () => {
    await register(s, order);
    await register(s, orderAdded);
    expect(await del(`/subjects/${s}`, "permanent=true")).toEqual(error(40405, "not deleted first"));
    expect(await del(`/subjects/${s}/versions/latest`)).toEqual(ok(2));
    expect(await del(`/subjects/${s}`)).toEqual(ok([1]));
    expect(await del(`/subjects/${s}`)).toEqual(error(40404, "permanent=true"));
    expect(await del(`/subjects/${s}`, "permanent=true")).toEqual(ok([1, 2]));
    expect(await del(`/subjects/${s}`)).toEqual(error(40401));
  });

  it("lets a schema that was deleted softly come back as max+1, and what broke it come first", async () => {
    const id = await idOf(s, order);
    await del(`/subjects/${s}/versions/1`);
    expect(await post(`/subjects/${s}`, { schema: order })).toEqual(error(40401));
    expect(await post(`/subjects/${s}`, { schema: order }, "deleted=true")).toMatchObject({
      body: { version: 1 },
    });
    expect(await register(s, order)).toMatchObject({ body: { id, version: 2 } });
    await del(`/subjects/${s}/versions/2`);
    expect(await register(s, orderBroken)).toMatchObject({ body: { version: 3 } });
  });
});

describe("/compatibility", () => {
  const path = (version = "") => `/compatibility/subjects/${s}/versions${version}`;

  it("says what registering would, without storing anything", async () => {
    await register(s, order);
    const before = await registry.lastSequence();
    for (const version of ["", "/latest", "/1", "/-1"]) {
      expect(await post(path(version), { schema: orderAdded })).toEqual(ok({ is_compatible: true }));
      expect(await post(path(version), { schema: orderBroken })).toEqual(ok({ is_compatible: false }));
    }
    expect(await registry.lastSequence()).toBe(before);
  });

  it("tells each difference if it is to be verbose", async () => {
    await register(s, order);
    expect(await post(path(), { schema: orderAdded }, "verbose=true")).toEqual(
      ok({ is_compatible: true, messages: [], differences: [] }),
    );
    expect(await post(path(), { schema: orderBroken }, "verbose=true")).toEqual(
      ok({
        is_compatible: false,
        messages: [expect.stringContaining("BACKWARD_TRANSITIVE")],
        differences: [
          {
            type: expect.any(String),
            path: expect.stringContaining("Order"),
            old: "int32 id = 1",
            new: "string id = 1",
            version: 1,
            direction: "backward",
          },
        ],
      }),
    );
  });

  it("is true of an unknown subject's latest, and 40402 of a numbered version", async () => {
    expect(await post(path("/latest"), { schema: order })).toEqual(ok({ is_compatible: true }));
    expect(await post(path(), { schema: order })).toEqual(ok({ is_compatible: true }));
    expect(await post(path("/1"), { schema: order })).toEqual(error(40402));
    expect(await post(path("/latest"), { schema: "message {" })).toEqual(error(42201));
  });

  // A version, one with another field, and the first again as the latest.
  const history = [protoOf("int32 a = 1;"), protoOf("int32 a = 1;\nint32 b = 2;"), protoOf("int32 a = 1;")];
  const retyped = protoOf("int32 a = 1;\nstring b = 2;");
  const newMessage = `${protoOf("int32 a = 1;")}message New {}\n`;
  it.each([
    ["NONE", [true, true]],
    // The latest has no `b`: what it once was is forgotten.
    ["BACKWARD", [true, true]],
    ["BACKWARD_TRANSITIVE", [false, true]],
    // A message that is new is none that an old reader has.
    ["FORWARD", [true, false]],
    ["FORWARD_TRANSITIVE", [false, false]],
    ["FULL", [true, false]],
    ["FULL_TRANSITIVE", [false, false]],
  ])("looks with %s as the mode says", async (compatibility, [isRetyped, isNew]) => {
    await put(`/config/${s}`, { compatibility: "NONE" });
    await register(s, history[0] ?? "");
    await register(s, history[1] ?? "");
    await del(`/subjects/${s}/versions/1`);
    await register(s, history[2] ?? "");
    expect(await put(`/config/${s}`, { compatibility })).toEqual(ok({ compatibility }));
    expect(await post(path(), { schema: retyped })).toEqual(ok({ is_compatible: isRetyped }));
    expect(await post(path(), { schema: newMessage })).toEqual(ok({ is_compatible: isNew }));
    expect((await register(s, retyped)).status).toBe(isRetyped ? 200 : 409);
  });
});

describe("/config", () => {
  it("has a level for all and one for a subject", async () => {
    expect(await get("/config")).toEqual(ok({ compatibilityLevel: "BACKWARD_TRANSITIVE" }));
    expect(await get(`/config/${s}`)).toEqual(error(40408, s));
    expect(await get(`/config/${s}`, "defaultToGlobal=true")).toEqual(
      ok({ compatibilityLevel: "BACKWARD_TRANSITIVE" }),
    );
    expect(await put(`/config/${s}`, { compatibility: "full" })).toEqual(ok({ compatibility: "FULL" }));
    expect(await get(`/config/${s}`)).toEqual(ok({ compatibilityLevel: "FULL" }));
    expect(await put("/config", { compatibility: "NONE" })).toEqual(ok({ compatibility: "NONE" }));
    expect(await get("/config")).toEqual(ok({ compatibilityLevel: "NONE" }));
    expect(await get(`/config/${s}-b`, "defaultToGlobal=true")).toEqual(ok({ compatibilityLevel: "NONE" }));
    expect(await del("/config")).toEqual(ok({ compatibilityLevel: "NONE" }));
    expect(await del(`/config/${s}`)).toEqual(ok({ compatibilityLevel: "FULL" }));
    expect(await del(`/config/${s}`)).toEqual(error(40408));
    expect(await get("/config")).toEqual(ok({ compatibilityLevel: "BACKWARD_TRANSITIVE" }));
  });

  it("has normalize without a level, and takes it back", async () => {
    expect(await put(`/config/${s}`, { normalize: true })).toEqual(ok({ normalize: true }));
    expect(await get(`/config/${s}`)).toEqual(ok({ normalize: true }));
    expect(await del(`/config/${s}`)).toEqual(ok({ normalize: true }));
    expect(await get(`/config/${s}`)).toEqual(error(40408));
  });

  it("answers 42203 to what is no level, and stores nothing", async () => {
    const before = await registry.lastSequence();
    for (const body of [
      { compatibility: "SIDEWAYS" },
      {},
      { compatibility: 1 },
      { compatibilityLevel: "FULL" },
      [],
      null,
    ]) {
      expect(await put(`/config/${s}`, body)).toEqual(error(42203));
    }
    expect(await ask("PUT", "/config", undefined, { raw: "{" })).toEqual(error(42203));
    expect(await registry.lastSequence()).toBe(before);
  });

  it("holds at once for who registers through another process", async () => {
    const client = { connection: registry.client.connection };
    await using other = openApp(client, { folder: "/nowhere" });
    const elsewhere = (path: string, body: object) =>
      other.app.request(path, { method: "PUT", body: Buffer.from(JSON.stringify(body)) });
    await register(s, order);
    await elsewhere(`/config/${s}`, { compatibility: "NONE" });
    expect(await register(s, orderBroken)).toMatchObject({ body: { version: 2 } });
    await elsewhere(`/config/${s}`, { compatibility: "BACKWARD" });
    expect(await register(s, order)).toMatchObject({ body: { version: 1 } });
    expect(await register(s, orderAdded)).toEqual(error(40901));
    await elsewhere(`/mode/${s}`, { mode: "READONLY" });
    expect(await register(s, protoOf("string id = 1;\nint32 more = 2;"))).toEqual(error(42205));
    expect(await del(`/subjects/${s}`)).toEqual(error(42205));
  });
});

describe("/mode", () => {
  it("is READWRITE unless it is set, for all and for a subject", async () => {
    expect(await get("/mode")).toEqual(ok({ mode: "READWRITE" }));
    expect(await get(`/mode/${s}`)).toEqual(error(40409, s));
    expect(await get(`/mode/${s}`, "defaultToGlobal=true")).toEqual(ok({ mode: "READWRITE" }));
    expect(await put("/mode", { mode: "READONLY" })).toEqual(ok({ mode: "READONLY" }));
    expect(await register(s, order)).toEqual(error(42205, "read-only"));
    expect(await put(`/mode/${s}`, { mode: "READWRITE" })).toEqual(ok({ mode: "READWRITE" }));
    expect(await register(s, order)).toMatchObject({ status: 200 });
    expect(await del("/mode")).toEqual(ok({ mode: "READONLY" }));
    expect(await del(`/mode/${s}`)).toEqual(ok({ mode: "READWRITE" }));
    expect(await del(`/mode/${s}`)).toEqual(error(40409));
    for (const body of [{ mode: "OFF" }, {}, { mode: 1 }, []])
      expect(await put("/mode", body)).toEqual(error(42204));
  });

  it("READONLY takes nothing new, and finds what there is", async () => {
    const { body } = await register(s, order);
    await put(`/mode/${s}`, { mode: "READONLY" });
    const before = await registry.lastSequence();
    expect(await register(s, orderAdded)).toEqual(error(42205, "read-only"));
    expect(await del(`/subjects/${s}`)).toEqual(error(42205));
    expect(await del(`/subjects/${s}/versions/1`)).toEqual(error(42205));
    expect(await register(s, order)).toEqual(ok(body));
    expect(await registry.lastSequence()).toBe(before);
  });

  it("IMPORT takes ids and versions of the client's choice", async () => {
    const imported = protoOf(`int32 id = 1; int32 n${serial} = 2;`, { name: "Imported" });
    const known = await idOf(`${s}-known`, order);
    expect(await put(`/mode/${s}`, { mode: "IMPORT" })).toMatchObject({ status: 200 });
    expect(await register(s, imported)).toEqual(error(42205, "send an id"));
    expect(await register(s, imported, { id: known })).toEqual(error(42207, "another schema's"));
    expect(await register(s, order, { id: known + 500 })).toEqual(error(42207, `has id ${known}`));
    expect(await register(s, imported, { id: 1_000_000_000 })).toEqual(error(42201, "id"));
    expect(await register(s, imported, { id: 5_000 + serial, version: 7 })).toMatchObject({
      body: { id: 5_000 + serial, version: 7 },
    });
    // Whatever it is compatible with.
    expect(await register(s, order, { id: known, version: 3 })).toMatchObject({
      body: { id: known, version: 3 },
    });
    expect(await register(s, protoOf("bool taken = 1;"), { id: 6_000 + serial, version: 7 })).toEqual(
      error(42205, "already has"),
    );
    expect(await get(`/subjects/${s}/versions`)).toEqual(ok([3, 7]));
    await put(`/mode/${s}`, { mode: "READWRITE" });
    await put(`/config/${s}`, { compatibility: "NONE" });
    const next = await register(s, protoOf(`string next${serial} = 1;`));
    expect(next).toMatchObject({ body: { version: 8 } });
  });

  it("IMPORT is refused where there is something, unless it is forced", async () => {
    await register(s, order);
    expect(await put(`/mode/${s}`, { mode: "IMPORT" })).toEqual(error(42205, s));
    expect(await put("/mode", { mode: "IMPORT" })).toEqual(error(42205, "force=true"));
    expect(await put(`/mode/${s}`, { mode: "IMPORT" }, "force=true")).toEqual(ok({ mode: "IMPORT" }));
  });
});

describe("content types", () => {
  const json = JSON.stringify({ schema: order });
  const posted = (type: string | undefined) =>
    registry.app.request(`/subjects/${s}/versions`, {
      method: "POST",
      body: Buffer.from(json),
      ...(type !== undefined && { headers: { "content-type": type } }),
    });

  it.each([
    "application/vnd.schemaregistry.v1+json",
    "application/vnd.schemaregistry+json",
    "application/json",
    "Application/JSON; charset=utf-8",
    "application/octet-stream",
    undefined,
  ])("takes %s", async (type) => {
    expect((await posted(type)).status).toBe(200);
  });

  it("answers 415 to another one", async () => {
    const response = await posted("text/plain");
    expect([response.status, await response.json()]).toMatchObject([415, { error_code: 415 }]);
  });

  it.each([
    [undefined, "application/vnd.schemaregistry.v1+json"],
    ["*/*", "application/vnd.schemaregistry.v1+json"],
    ["application/json", "application/json"],
    ["application/vnd.schemaregistry+json;q=0.9, */*", "application/vnd.schemaregistry+json"],
    [
      "text/html, application/json, application/vnd.schemaregistry.v1+json",
      "application/vnd.schemaregistry.v1+json",
    ],
  ])("answers to Accept: %s with %s", async (accept, type) => {
    const headers = accept === undefined ? {} : { accept };
    for (const path of ["/subjects", "/subjects/nobody/versions", "/nothing"]) {
      expect((await registry.app.request(path, { headers })).headers.get("content-type")).toBe(type);
    }
  });
});

describe("what else clients ask for", () => {
  it("is answered", async () => {
    expect(await get("/")).toEqual(ok({}));
    expect(await get("/contexts")).toEqual(ok(["."]));
    expect(await get("/associations/resources/-/some.topic")).toEqual(ok([]));
    expect(await get("/nothing")).toEqual({
      status: 404,
      body: { error_code: 404, message: "There is no /nothing" },
    });
    expect((await ask("HEAD", "/subjects")).status).toBe(200);
    for (const method of ["OPTIONS", "PATCH", "DELETE", "FOO"]) {
      expect(await ask(method, "/subjects")).toMatchObject({ status: 405, body: { error_code: 405 } });
    }
    const response = await registry.app.request("/config", { method: "POST" });
    expect(response.headers.get("allow")).toBe("GET, PUT, DELETE");
  });
});

describe("when the store does not answer", () => {
  it("50001: says so, and that one may try again", async () => {
    const client = await stack.use(await startNats()).connect();
    await using gone = openApp(client, { folder: "/nowhere" });
    await client.connection.close();
    for (const path of ["/subjects/a/versions", "/subjects", "/config", "/schemas/ids/1"]) {
      const response = await gone.app.request(path);
      expect([response.status, await response.json()]).toMatchObject([500, { error_code: 50001 }]);
      expect(response.headers.get("retry-after")).toBe("1");
    }
  });
});
