import {
  create,
  type DescMessage,
  equals,
  fromJson,
  isMessage,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type * as Confluent from "@confluentinc/schemaregistry";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OrderCreatedSchema } from "../../gen/shop/order/v1/order_created_pb.ts";
import { orderCreated } from "../../nats/mod.ts";
import { compileEdited, type Edits, fileNamed } from "../../nats/registry/testing.ts";
import { printFile } from "../../schemas/mod.ts";
import {
  framed,
  INSTALL_TIMEOUT_MS,
  installClients,
  registerShop,
  startRegistry,
  type TestRegistry,
} from "./support.ts";

let confluent: typeof Confluent;
let registry: TestRegistry;

beforeAll(async () => {
  confluent = (await installClients())<typeof Confluent>("@confluentinc/schemaregistry");
  registry = await startRegistry();
}, INSTALL_TIMEOUT_MS);
afterAll(() => registry?.[Symbol.asyncDispose]());

/** A client that knows nothing yet; they keep what they have read for ever. */
function newClient(token = registry.registryToken): Confluent.SchemaRegistryClient {
  return new confluent.SchemaRegistryClient({
    baseURLs: [registry.url],
    basicAuthCredentials: { credentialsSource: "USER_INFO", userInfo: `anybody:${token}` },
  });
}

function serializer(
  schema: DescMessage,
  config: Confluent.ProtobufSerializerConfig = {},
): Confluent.ProtobufSerializer {
  const settings = { autoRegisterSchemas: true, ...config };
  const made = new confluent.ProtobufSerializer(newClient(), confluent.SerdeType.VALUE, settings);
  made.registry.add(schema);
  return made;
}

function deserializer(config: Confluent.DeserializerConfig = {}): Confluent.ProtobufDeserializer {
  return new confluent.ProtobufDeserializer(newClient(), confluent.SerdeType.VALUE, config);
}

/** What the client's own copy of the library has read, as this one compares it. */
function expectSame<S extends DescMessage>(schema: S, read: unknown, sent: MessageShape<S>): void {
  expect(isMessage(read, schema)).toBe(true);
  expect(equals(schema, read as MessageShape<S>, sent)).toBe(true);
}

/** As a build has it whose `order_created.proto` was edited. */
async function editedOrderCreated(...edits: Edits[string]): Promise<DescMessage> {
  const path = "shop/order/v1/order_created.proto";
  const schema = (await compileEdited({ [path]: edits })).getMessage(OrderCreatedSchema.typeName);
  if (schema === undefined) throw new Error(`there is no message in ${path}`);
  return schema;
}

const order = "shop/order/v1/order.proto";
const placedAt = { seconds: 1_790_000_000n, nanos: 5 };
const lines = [{ sku: "mug", quantity: 2, unitPriceCents: 900n }];
const created = create(OrderCreatedSchema, {
  order: { orderId: "o1", customer: { id: "c1" }, lines, totalCents: 1_800n, placedAt },
  requestHash: "h",
});
const addedField = ["string attempt_id = 3;", "string attempt_id = 3;\n  string channel = 5;"] as const;
const changedField = ["string request_hash = 2;", "double request_hash = 2;"] as const;
const info = (text: string, references: Confluent.Reference[] = []): Confluent.SchemaInfo => {
  return { schemaType: "PROTOBUF", schema: text, references };
};
const textOf = (field: string) => `syntax = "proto3";\npackage shop.test;\nmessage M {\n  ${field}\n}\n`;

describe("@confluentinc/schemaregistry: messages", () => {
  it("registers a message's schema and the one that it imports, and reads the message back", async () => {
    const bytes = await serializer(OrderCreatedSchema).serialize("orders", created);
    expectSame(OrderCreatedSchema, await deserializer().deserialize("orders", bytes), created);
    const client = newClient();
    const { id, version, references } = await client.getLatestSchemaMetadata("orders-value");
    expect(bytes.readInt32BE(1)).toBe(id);
    expect({ version, references }).toEqual({
      version: 1,
      references: [{ name: order, subject: order, version: 1 }],
    });
    expect(await client.getAllSubjects()).toEqual(expect.arrayContaining([order, "orders-value"]));
  });

  it("registers nothing twice", async () => {
    const bytes = await serializer(OrderCreatedSchema).serialize("again", created);
    expect(await serializer(OrderCreatedSchema).serialize("again", created)).toEqual(bytes);
    expect(await newClient().getAllVersions("again-value")).toEqual([1]);
  });

  it("finds a schema that is registered, and registers none, where it is told so", async () => {
    const looksUp = { autoRegisterSchemas: false };
    const unknown = serializer(OrderCreatedSchema, looksUp).serialize("elsewhere", created);
    await expect(unknown).rejects.toMatchObject({ status: 404, errorCode: 40401 });
    const bytes = await serializer(OrderCreatedSchema).serialize("found", created);
    expect(await serializer(OrderCreatedSchema, looksUp).serialize("found", created)).toEqual(bytes);
    const latest = { ...looksUp, useLatestVersion: true };
    expect(await serializer(OrderCreatedSchema, latest).serialize("found", created)).toEqual(bytes);
    await expect(newClient().getAllVersions("elsewhere-value")).rejects.toMatchObject({ errorCode: 40401 });
  });

  it("names the schema by its guid in a header, and finds it by that", async () => {
    const { HeaderSchemaIdSerializer: schemaIdSerializer } = confluent;
    const headers = {};
    const writer = serializer(OrderCreatedSchema, { schemaIdSerializer });
    const bytes = await writer.serialize("guids", created, headers);
    expect(Object.keys(headers)).toEqual(["__value_schema_id"]);
    expectSame(OrderCreatedSchema, await deserializer().deserialize("guids", bytes, headers), created);
  });

  it("reads a message from a topic that it was forwarded to", async () => {
    const bytes = await serializer(OrderCreatedSchema).serialize("forwarded", created);
    const read = await deserializer().deserialize("forwarded.dead", bytes);
    expectSame(OrderCreatedSchema, read, created);
  });

  it("names subjects by the message's type, where it is told so", async () => {
    const subjectNameStrategyType = confluent.SubjectNameStrategyType.RECORD;
    const writer = serializer(OrderCreatedSchema, { subjectNameStrategyType });
    const bytes = await writer.serialize("any", created);
    expect(await newClient().getAllVersions(OrderCreatedSchema.typeName)).toEqual([1]);
    const read = await deserializer({ subjectNameStrategyType }).deserialize("any", bytes);
    expectSame(OrderCreatedSchema, read, created);
  });

  it("reads old messages and new ones when a field was added", async () => {
    const old = await serializer(OrderCreatedSchema).serialize("evolving", created);
    const newer = await editedOrderCreated(addedField);
    const message = fromJson(newer, { requestHash: "h", channel: "web" });
    const bytes = await serializer(newer).serialize("evolving", message);
    expect(await newClient().getAllVersions("evolving-value")).toEqual([1, 2]);
    const reader = deserializer();
    expect(await reader.deserialize("evolving", bytes)).toMatchObject({ requestHash: "h", channel: "web" });
    expect(await reader.deserialize("evolving", old)).toMatchObject({ requestHash: "h", order: { lines } });
  });

  it("writes nothing with a schema that is incompatible, and is told every difference", async () => {
    await serializer(OrderCreatedSchema).serialize("strict", created);
    const newer = await editedOrderCreated(changedField, ["string attempt_id = 3;", "bool attempt_id = 3;"]);
    const refused = serializer(newer).serialize("strict", create(newer));
    await expect(refused).rejects.toBeInstanceOf(confluent.RestError);
    await expect(refused).rejects.toMatchObject({ status: 409, errorCode: 40901 });
    await expect(refused).rejects.toThrow(/BACKWARD_TRANSITIVE.*#\/OrderCreated\/2 .*#\/OrderCreated\/3 /s);
    expect(await newClient().getAllVersions("strict-value")).toEqual([1]);
  });

  it("reads every message that the shop's services store, by the id of its schema, and writes with the same", async () => {
    const ids = await registerShop(registry);
    expect(ids.size).toBeGreaterThan(20);
    const reader = deserializer();
    for (const [{ subject, schema }, id] of ids) {
      const sent = create(schema);
      const read = await reader.deserialize(subject, framed(id, toBinary(schema, sent)));
      expectSame(schema, read, sent);
    }
    const writer = serializer(OrderCreatedSchema, {
      autoRegisterSchemas: false,
      subjectNameStrategy: async () => orderCreated.subject,
    });
    const bytes = await writer.serialize("orders", created);
    expect(bytes).toEqual(framed(ids.get(orderCreated) ?? 0, toBinary(OrderCreatedSchema, created)));
  });
});

describe("@confluentinc/schemaregistry: schemas", () => {
  it("gets the same schema by id, guid, subject and version, as text and as a descriptor", async () => {
    const client = newClient();
    const text = textOf("string a = 1;");
    const { id = 0, guid = "", version = 0 } = await client.registerFullResponse("ways", info(text));
    const texts = [
      await newClient().getBySubjectAndId("ways", id),
      await newClient().getByGuid(guid),
      await newClient().getSchemaMetadata("ways", version),
      await newClient().getLatestSchemaMetadata("ways"),
    ];
    expect(texts.map((it) => it.schema)).toEqual([text, text, text, text]);
    const descriptors = [
      await newClient().getByGuid(guid, "serialized"),
      await newClient().getSchemaMetadata("ways", version, false, "serialized"),
      await newClient().getLatestSchemaMetadata("ways", "serialized"),
    ];
    const { schema } = await newClient().getBySubjectAndId("ways", id, "serialized");
    expect(descriptors.map((it) => it.schema)).toEqual([schema, schema, schema]);
    // One schema, whichever way it is said.
    expect(await client.register("other", info(schema))).toBe(id);
    expect(await client.getVersion("ways", info(schema))).toBe(version);
  });

  it("gets a text that is the same schema for what was registered as a descriptor", async () => {
    await serializer(OrderCreatedSchema).serialize("texts", created);
    const client = newClient();
    const { id, schema, references } = await client.getLatestSchemaMetadata("texts-value");
    expect(schema).toBe(printFile(fileNamed(await compileEdited({}), "shop/order/v1/order_created.proto")));
    expect(await client.register("texts-again", info(schema, references))).toBe(id);
  });

  it("says whether a schema is compatible, and registers nothing", async () => {
    const client = newClient();
    await client.register("asked", info(textOf("string a = 1;")));
    const wider = info(textOf("string a = 1;\n  string b = 2;"));
    const other = info(textOf("double a = 1;"));
    expect(await client.testSubjectCompatibility("asked", wider)).toBe(true);
    expect(await client.testSubjectCompatibility("asked", other)).toBe(false);
    expect(await client.testCompatibility("asked", 1, other)).toBe(false);
    expect(await client.testSubjectCompatibility("unknown", other)).toBe(true);
    await expect(client.testCompatibility("asked", 2, wider)).rejects.toMatchObject({ errorCode: 40402 });
    expect(await client.getAllVersions("asked")).toEqual([1]);
  });

  it("gets a schema refused that is none, with the place of the fault", async () => {
    const refused = newClient().register("faulty", info(textOf("strin a = 1;")));
    await expect(refused).rejects.toMatchObject({ status: 422, errorCode: 42201 });
    await expect(refused).rejects.toThrow("4:3");
  });

  it("sets and gets compatibility levels, of a subject and of all", async () => {
    const operator = newClient(registry.operatorToken);
    const { Compatibility } = confluent;
    await expect(operator.getConfig("levels")).rejects.toMatchObject({ status: 404, errorCode: 40408 });
    expect(await operator.getDefaultCompatibility()).toBe("BACKWARD_TRANSITIVE");
    expect(await operator.updateCompatibility("levels", Compatibility.NONE)).toBe("NONE");
    expect(await operator.getCompatibility("levels")).toBe("NONE");
    await operator.register("levels", info(textOf("string a = 1;")));
    await operator.register("levels", info(textOf("double a = 1;")));
    expect(await operator.updateConfig("levels", { compatibility: Compatibility.FULL })).toEqual({
      compatibility: "FULL",
    });
    expect(await operator.getConfig("levels")).toEqual({ compatibilityLevel: "FULL" });
    expect(await operator.updateDefaultCompatibility(Compatibility.FULL_TRANSITIVE)).toBe("FULL_TRANSITIVE");
    expect(await operator.getDefaultConfig()).toEqual({ compatibilityLevel: "FULL_TRANSITIVE" });
    await operator.updateDefaultConfig({ compatibility: Compatibility.BACKWARD_TRANSITIVE });
  });

  it("deletes softly, then for good, and nothing that others refer to", async () => {
    const operator = newClient(registry.operatorToken);
    const part = textOf("string a = 1;");
    const whole = `syntax = "proto3";\nimport "part.proto";\nmessage W { shop.test.M m = 1; }\n`;
    await operator.register("part", info(part));
    const references = [{ name: "part.proto", subject: "part", version: 1 }];
    const id = await operator.register("whole", info(whole, references));
    await expect(operator.deleteSubjectVersion("part", 1)).rejects.toMatchObject({ errorCode: 42206 });
    await expect(operator.deleteSubject("whole", true)).rejects.toMatchObject({ errorCode: 40405 });

    expect(await operator.deleteSubject("whole")).toEqual([1]);
    await expect(newClient().getLatestSchemaMetadata("whole")).rejects.toMatchObject({ errorCode: 40401 });
    expect(await newClient().getSchemaMetadata("whole", 1, true)).toMatchObject({ id, references });
    expect(await newClient().getBySubjectAndId("whole", id)).toMatchObject({ schema: whole, references });
    expect(
      await newClient(registry.operatorToken).registerFullResponse("whole", info(whole, references)),
    ).toMatchObject({ id, version: 2 });

    expect(await operator.deleteSubject("whole")).toEqual([2]);
    expect(await operator.deleteSubject("whole", true)).toEqual([1, 2]);
    await expect(newClient().getBySubjectAndId("whole", id)).rejects.toMatchObject({ errorCode: 40403 });
    expect(await operator.deleteSubjectVersion("part", 1)).toBe(1);
    expect(await operator.deleteSubjectVersion("part", 1, true)).toBe(1);
  });

  it("may do what its token may do, as a password or as a bearer's", async () => {
    const schema = info(textOf("string a = 1;"));
    const bearer = new confluent.SchemaRegistryClient({
      baseURLs: [registry.url],
      bearerAuthCredentials: {
        credentialsSource: "STATIC_TOKEN",
        token: registry.registryToken,
        logicalCluster: "none",
        identityPoolId: "none",
      },
    });
    for (const [subject, client] of Object.entries({ basic: newClient(), bearer })) {
      expect(await client.register(subject, schema)).toBeGreaterThan(0);
      const { Compatibility } = confluent;
      for (const refused of [
        client.updateCompatibility(subject, Compatibility.NONE),
        client.updateDefaultCompatibility(Compatibility.NONE),
        client.deleteSubject(subject),
      ]) {
        await expect(refused).rejects.toMatchObject({ status: 403 });
      }
    }
    const nobody = newClient("of nobody");
    await expect(nobody.register("nobody", schema)).rejects.toMatchObject({ status: 401 });
    expect(await nobody.getAllVersions("basic")).toEqual([1]);
  });
});
