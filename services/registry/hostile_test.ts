import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Type, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startNats } from "../../test/support/mod.ts";
import { base64Of, protoOf, startRegistry, type TestRegistry } from "./test_support.ts";

// What nobody sends who means well. Each gets a clear answer, and nothing of it is stored.

const stack = new AsyncDisposableStack();
let registry: TestRegistry;
let ask: TestRegistry["ask"];

beforeAll(async () => {
  const nats = stack.use(await startNats());
  registry = stack.use(await startRegistry(nats));
  ask = registry.ask;
  const schemas = { order: protoOf("int32 a = 1;"), other: protoOf("int32 b = 1;", { name: "Other" }) };
  for (const [subject, schema] of Object.entries(schemas)) {
    expect(await register(subject, { schema })).toMatchObject({ status: 200 });
  }
});
afterAll(() => stack.disposeAsync());

const register = (subject: string, body: unknown) => ask("POST", `/subjects/${subject}/versions`, body);

/** Registering it is refused with `code`, and nothing is stored. */
async function refused(body: unknown, code: number, text: string | RegExp = ""): Promise<void> {
  const before = await registry.lastSequence();
  const { status, body: answer } = await register("hostile", body);
  expect(answer).toMatchObject({ error_code: code, message: expect.stringMatching(/.{10}/) });
  expect(answer.message).toMatch(typeof text === "string" ? new RegExp(RegExp.escape(text)) : text);
  expect(status).toBe(Math.floor(code / 100));
  expect(await registry.lastSequence()).toBe(before);
}

describe("a subject's name", () => {
  it.each([
    "../x",
    "*",
    ">",
    "a b",
    "€",
    "a/b",
    "a%2Fb",
    "$KV.SCHEMAS.>",
    "constructor",
    "__proto__",
    "'\"<>&",
  ])("may be %j", async (name) => {
    const path = `/subjects/${encodeURIComponent(name)}`;
    const { status, body } = await register(encodeURIComponent(name), { schema: protoOf("int32 a = 1;") });
    expect({ status, body }).toMatchObject({ status: 200, body: { version: 1 } });
    expect(await ask("GET", `${path}/versions/1`)).toMatchObject({ body: { subject: name } });
    expect((await ask("GET", "/subjects")).body).toContain(name);
    expect(await ask("DELETE", path)).toMatchObject({ body: [1] });
  });

  it.each([
    "%00",
    "%0a",
    "%ff",
    "%",
    "%zz",
    "%ed%a0%80",
    "x".repeat(300),
    "%E2%82%AC".repeat(86),
    "__GLOBAL",
    "__EMPTY",
    ":.ctx:a",
  ])("may not be %s", async (name) => {
    const before = await registry.lastSequence();
    const invalid = {
      status: 422,
      body: { error_code: 42208, message: expect.stringContaining("not valid") },
    };
    const schema = { schema: protoOf("int32 a = 1;") };
    expect(await register(name, schema)).toEqual(invalid);
    expect(await ask("POST", `/subjects/${name}`, schema)).toEqual(invalid);
    expect(await ask("POST", `/compatibility/subjects/${name}/versions`, schema)).toEqual(invalid);
    for (const path of ["/versions", "/versions/1", "/versions/1/schema"]) {
      expect(await ask("GET", `/subjects/${name}${path}`)).toEqual(invalid);
    }
    for (const path of ["subjects", "config", "mode"]) {
      expect(await ask("DELETE", `/${path}/${name}`)).toEqual(invalid);
    }
    expect(await ask("PUT", `/config/${name}`, { compatibility: "NONE" })).toEqual(invalid);
    expect(await ask("PUT", `/mode/${name}`, { mode: "READONLY" })).toEqual(invalid);
    expect(await registry.lastSequence()).toBe(before);
  });

  it("may not be a step in a path, nor in a reference", async () => {
    for (const subject of [".", "..", "", "a\0b", "\ud800", "x".repeat(300)]) {
      const references = [{ name: "a.proto", subject, version: 1 }];
      await refused({ schema: protoOf("int32 a = 1;"), references }, 42208);
    }
    expect((await register("..", { schema: protoOf("int32 a = 1;") })).status).toBe(404);
  });
});

describe("a body", () => {
  it.each([
    "",
    "{",
    "null",
    "[]",
    '"x"',
    "1",
    "[".repeat(500_000),
    `${"[".repeat(200_000)}${"]".repeat(200_000)}`,
  ])("is a JSON object, and not %.20s", async (raw) => {
    const before = await registry.lastSequence();
    for (const path of [
      "/subjects/order/versions",
      "/subjects/order",
      "/compatibility/subjects/order/versions",
    ]) {
      const { status, body } = await ask("POST", path, undefined, { raw });
      expect({ status, body }).toMatchObject({ status: 422, body: { error_code: 42201 } });
    }
    expect(await ask("PUT", "/mode", undefined, { raw })).toMatchObject({ body: { error_code: 42204 } });
    expect(await registry.lastSequence()).toBe(before);
  });

  it.each([
    {},
    { schema: 1 },
    { schema: null },
    { schema: ["x"] },
    { schema: "", version: 1 },
    { schema: "x", schemaType: 1 },
    { schema: "x", schemaType: "AVRO" },
    { schema: "x", references: {} },
    { schema: "x", references: ["a"] },
    { schema: "x", references: [{ name: "a.proto", subject: "order", version: "1" }] },
    { schema: "x", references: [{ name: "a.proto", subject: "order", version: 1e99 }] },
    { schema: "x", version: "1" },
    { schema: "x", version: 1.5 },
    { schema: "x", version: 2 ** 31 },
    { schema: "x", id: 2 ** 31 },
    { schema: "x", id: -2 },
    { schema: "x", ruleSet: { domainRules: [] } },
  ])("is not %j", async (body) => {
    await refused(body, 42201);
  });

  it("is not larger than one that can be stored", async () => {
    await refused({ schema: "x".repeat(2_000_000) }, 42209);
    await refused({ schema: `// ${"x".repeat(600_000)}` }, 42209, "600003 bytes");
    // Counted in bytes, whatever the characters.
    await refused({ schema: `// ${"€".repeat(200_000)}` }, 42209, "600003 bytes");
    const references = Array.from({ length: 101 }, (_, n) => ({
      name: `${n}.proto`,
      subject: "order",
      version: 1,
    }));
    await refused({ schema: protoOf("int32 a = 1;"), references }, 42209, "101 references");
  });

  it("may have what is no character", async () => {
    for (const note of ["// \0", "// \ud800", "// \u2028\ufeff"]) {
      const { status, body } = await register("order", { schema: protoOf(`${note}\n  int32 a = 1;`) });
      expect({ status, body }).toMatchObject({ status: 200, body: { version: 1 } });
    }
  });
});

describe("a text", () => {
  it.each([
    ["of another language", '{"type":"record","name":"A"}', "schema.proto:1:1"],
    ["without an end", 'syntax = "proto3";\nmessage M {', "schema.proto:2:11"],
    ["nested too deep", `${"message A {\n".repeat(500)}${"}\n".repeat(500)}`, "nesting depth"],
    ["that imports itself", 'syntax = "proto3";\nimport "schema.proto";', "cyclic import"],
    [
      "that imports a file of the disk",
      'syntax = "proto3";\nimport "../../../../etc/passwd";',
      "schema.proto:2:8",
    ],
    [
      "that imports what there is not",
      'syntax = "proto3";\nimport "no.proto";',
      "schema.proto:2:1: imported file does not exist",
    ],
    [
      "that imports a name with a line break",
      'syntax = "proto3";\nimport "a\\n{\\"path\\":1}";',
      "schema.proto:2:1",
    ],
    // The compiler takes minutes for it.
    [
      "of one long line",
      `syntax = "proto3"; message M { ${"M m = 1; ".repeat(10_000)} }`,
      "line 1 has more than",
    ],
  ])("%s is refused", async (_, schema, text) => {
    await refused({ schema }, 42201, text);
  });

  it("that compiles to too much is refused", async () => {
    // Every field names its type in full.
    const deep = Array.from({ length: 30 }, (_, n) => `message ${"n".repeat(255)}${n} {\n`).join("");
    const fields = Array.from({ length: 12_000 }, (_, n) => `M f${n} = ${n + 1};\n`).join("");
    await refused(
      { schema: `syntax = "proto3";\n${deep}message M {\n${fields}}\n${"}\n".repeat(30)}` },
      42201,
      "more than",
    );
  });

  it("with 10,000 fields is a schema like any other", async () => {
    const fields = Array.from({ length: 10_000 }, (_, n) => `int32 f${n} = ${n + 1};\n`).join("");
    const schema = { schema: protoOf(fields) };
    expect(await register("many", schema)).toMatchObject({ status: 200 });
    expect(await ask("POST", "/compatibility/subjects/many/versions", schema)).toMatchObject({
      body: { is_compatible: true },
    });
  });
});

describe("a reference", () => {
  const order = (name: string, more: object = {}) => ({ name, subject: "order", version: 1, ...more });
  const importing = (path: string) => protoOf("Order o = 1;", { name: "Importing", imports: [path] });

  it.each([
    "../a.proto",
    "/a.proto",
    "a/../b.proto",
    "a//b.proto",
    "a\\b.proto",
    "a\n.proto",
    "a",
    "",
    "x".repeat(300),
    "a\0.proto",
    "é.proto",
  ])("is no import path if its name is %j", async (name) => {
    await refused({ schema: importing("a.proto"), references: [order(name)] }, 42201, "is no import path");
  });

  it.each(["buf.yaml/a.proto", "google/protobuf/timestamp.proto"])("may not be named %s", async (name) => {
    await refused({ schema: importing(name), references: [order(name)] }, 42201, name);
  });

  it("may not be a file and a folder", async () => {
    const references = [order("a.proto"), order("a.proto/b.proto")];
    await refused({ schema: importing("a.proto"), references }, 42201, "is a file, and no folder");
  });

  it("is to a version that there is", async () => {
    await refused(
      { schema: importing("a.proto"), references: [order("a.proto", { version: 9 })] },
      42201,
      "no version 9",
    );
    await refused(
      { schema: importing("a.proto"), references: [order("a.proto", { version: 0 })] },
      42201,
      "no version 0",
    );
    await refused(
      { schema: importing("a.proto"), references: [order("a.proto", { subject: "x" })] },
      42201,
      'subject "x"',
    );
  });

  it("brings one file under one name", async () => {
    const references = [order("a.proto"), order("a.proto", { subject: "other" })];
    await refused(
      { schema: importing("a.proto"), references },
      42201,
      "two references bring different files as a.proto",
    );
    // The same file under two names declares everything twice.
    await refused(
      { schema: importing("a.proto"), references: [order("a.proto"), order("b.proto")] },
      42201,
      "declared multiple times",
    );
  });

  it("may have the name that the registry gives to what it compiles", async () => {
    for (const name of ["schema.proto", "schema.proto/a.proto", "--help.proto"]) {
      const subject = `named-${encodeURIComponent(encodeURIComponent(name))}`;
      const body = { schema: importing(name), references: [order(name)] };
      expect(await register(subject, body)).toMatchObject({ status: 200 });
      const { body: stored } = await ask("GET", `/subjects/${subject}/versions/1`, undefined, {
        query: "format=serialized",
      });
      expect(await ask("POST", `/subjects/${subject}`, stored)).toMatchObject({ body: { version: 1 } });
    }
  });
});

describe("a descriptor", () => {
  const { INT32, BYTES, MESSAGE } = FieldDescriptorProto_Type;
  const encoded = (init: MessageInitShape<typeof FileDescriptorProtoSchema>) =>
    base64Of(create(FileDescriptorProtoSchema, { name: "x.proto", syntax: "proto3", ...init }));
  const field = { name: "f", number: 1, label: 1, type: INT32 };
  type Message = NonNullable<MessageInitShape<typeof FileDescriptorProtoSchema>["messageType"]>[number];
  const message = (init: Message, file = {}) => encoded({ messageType: [{ name: "M", ...init }], ...file });
  const nested = (depth: number): Message =>
    depth === 0 ? { name: "A" } : { name: "A", nestedType: [nested(depth - 1)] };

  it.each([
    ["that is no base64", "CgZ4Lm!"],
    ["that is cut off", message({ field: [field] }).slice(0, 16)],
    ["of random letters", "message"],
    // A field that no descriptor has; taken for an empty file otherwise.
    ["that is base64 by chance", "+gEA"],
    ["of nothing but its end", "===="],
    ["that imports itself", encoded({ dependency: ["x.proto"] })],
    [
      "that imports itself by the registry's name",
      encoded({ name: "schema.proto", dependency: ["schema.proto"] }),
    ],
    ["that imports what there is not", encoded({ dependency: ["no.proto"] })],
    ["that imports a file of the disk", encoded({ dependency: ["../../../../etc/passwd"] })],
    ["with a type that dangles", message({ field: [{ ...field, type: MESSAGE, typeName: ".No" }] })],
    ["with a type that is an enum's", message({ field: [{ ...field, type: 14, typeName: ".M" }] })],
    [
      "with a method that dangles",
      encoded({ service: [{ name: "S", method: [{ name: "m", inputType: ".No", outputType: ".No" }] }] }),
    ],
    ["with an extension that dangles", encoded({ extension: [{ ...field, extendee: ".No" }] })],
    ["with a field without a type", message({ field: [{ name: "f", number: 1, label: 1 }] })],
    ["with a field without a label", message({ field: [{ name: "f", number: 1, type: INT32 }] })],
    ["with a field of number 0", message({ field: [{ ...field, number: 0 }] })],
    ["with a field twice", message({ field: [field, field] })],
    ["with a oneof that there is not", message({ field: [{ ...field, oneofIndex: 7 }] })],
    [
      "with a map that is none",
      message({
        field: [{ ...field, label: 3, type: MESSAGE, typeName: ".M.E" }],
        nestedType: [{ name: "E", options: { mapEntry: true } }],
      }),
    ],
    [
      "with a map of itself",
      message({ field: [{ ...field, type: MESSAGE, typeName: ".M" }], options: { mapEntry: true } }),
    ],
    ["with an enum of nothing", encoded({ enumType: [{ name: "E" }] })],
    ["of an edition to come", encoded({ syntax: "editions", edition: 99_999 })],
    ["of nothing", encoded({})],
    ["of another syntax", encoded({ syntax: 'proto3"; import "x' })],
    ["with a public import that there is not", message({}, { publicDependency: [5] })],
    ["with a name that is text", message({ name: "M {}\nmessage N" })],
    ["with a package that is text", message({}, { package: "a;\nmessage X {}\n//" })],
    [
      "with a default that is text",
      message(
        { field: [{ ...field, type: BYTES, defaultValue: '"]; int32 g = 2 [default = "1' }] },
        { syntax: "" },
      ),
    ],
    [
      "with a default that is an option",
      message({ field: [{ ...field, defaultValue: "1, deprecated = true" }] }, { syntax: "" }),
    ],
    ["with a reserved name that is text", message({ reservedName: ['a"; message Z {} //'] })],
    ["nested deeper than the compiler goes", encoded({ messageType: [nested(40)] })],
    ["nested deeper than the decoder goes", encoded({ messageType: [nested(1_000)] })],
    ["in a folder that is a file", message({}, { name: "buf.yaml/x.proto" })],
  ])("%s is refused", async (_, schema) => {
    await refused({ schema }, 42201);
  });

  it("is stored whatever its file's name, which is no part of it", async () => {
    const ids = await Promise.all(
      ["x.proto", "../x.proto", "/etc/passwd", "google/protobuf/any.proto", "", "\0"].map(
        async (name, index) => {
          const { status, body } = await register(`named-${index}`, { schema: message({}, { name }) });
          expect(status).toBe(200);
          return body.id;
        },
      ),
    );
    expect(new Set(ids).size).toBe(1);
  });
});
