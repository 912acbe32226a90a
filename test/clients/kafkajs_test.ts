import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import type * as Confluent from "@confluentinc/schemaregistry";
import type * as Kafkajs from "@kafkajs/confluent-schema-registry";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ReserveStockSchema } from "../../gen/shop/checkout/v1/reserve_stock_pb.ts";
import { OrderCreatedSchema } from "../../gen/shop/order/v1/order_created_pb.ts";
import {
  framed,
  INSTALL_TIMEOUT_MS,
  installClients,
  registerShop,
  startRegistry,
  type TestRegistry,
} from "./support.ts";

let confluent: typeof Confluent;
let kafkajs: typeof Kafkajs;
let registry: TestRegistry;

beforeAll(async () => {
  const load = await installClients();
  confluent = load<typeof Confluent>("@confluentinc/schemaregistry");
  kafkajs = load<typeof Kafkajs>("@kafkajs/confluent-schema-registry");
  registry = await startRegistry();
}, INSTALL_TIMEOUT_MS);
afterAll(() => registry?.[Symbol.asyncDispose]());

/** A client that knows nothing yet. */
function newClient(token = registry.registryToken): Kafkajs.SchemaRegistry {
  return new kafkajs.SchemaRegistry({ host: registry.url, auth: { username: "anybody", password: token } });
}

interface RegisterOptions {
  client?: Kafkajs.SchemaRegistry;
  references?: { name: string; subject: string; version: number }[];
  /** Default: as everybody should call this client, so that it sets no level of its own. Empty: as it does by itself. */
  config?: { updateConfig?: boolean; compatibility?: Kafkajs.COMPATIBILITY };
}

function register(subject: string, text: string, options: RegisterOptions = {}) {
  const { client = newClient(), references = [], config = { updateConfig: false } } = options;
  return client.register(
    { type: kafkajs.SchemaType.PROTOBUF, schema: text, references },
    { subject, ...config },
  );
}

/** As the operator sets and sees it; undefined if a subject has none of its own. That of all has no subject: `""`. */
async function level(subject: string, change?: string): Promise<string | undefined> {
  const response = await fetch(`${registry.url}/config${subject && `/${subject}`}`, {
    headers: { authorization: `Bearer ${registry.operatorToken}`, "content-type": "application/json" },
    ...(change && { method: "PUT", body: JSON.stringify({ compatibility: change }) }),
  });
  if (response.status !== 404) expect(response.status).toBe(200);
  const body = (await response.json()) as { compatibilityLevel?: string; compatibility?: string };
  return body.compatibilityLevel ?? body.compatibility;
}

async function versionsOf(subject: string): Promise<unknown> {
  return (await fetch(`${registry.url}/subjects/${subject}/versions`)).json();
}

const textOf = (field: string) => `syntax = "proto3";\npackage shop.test;\nmessage M {\n  ${field}\n}\n`;
const one = textOf("string a = 1;");
const two = textOf("string a = 1;\n  int32 b = 2;");
const incompatible = textOf("double a = 1;");

describe("@kafkajs/confluent-schema-registry", () => {
  it("registers .proto text, writes a message with it, and another one reads that", async () => {
    const writer = newClient();
    const { id } = await register("carts-value", one, { client: writer });
    const bytes = await writer.encode(id, { a: "x" });
    expect(bytes.readInt32BE(1)).toBe(id);
    expect(await newClient().decode(bytes)).toMatchObject({ a: "x" });
    expect(await newClient().getLatestSchemaId("carts-value")).toBe(id);
    expect(await newClient().getRegistryId("carts-value", 1)).toBe(id);
    const schema = { type: kafkajs.SchemaType.PROTOBUF, schema: one } as const;
    expect(await newClient().getRegistryIdBySchema("carts-value", schema)).toBe(id);
    await expect(newClient().getRegistryIdBySchema("nothing-value", schema)).rejects.toThrow("nothing-value");
  });

  it("registers nothing twice, and has one id for one schema", async () => {
    const { id } = await register("twice/value", one);
    expect((await register("twice/value", one)).id).toBe(id);
    expect((await register("elsewhere-value", one)).id).toBe(id);
    expect(await versionsOf("twice%2Fvalue")).toEqual([1]);
  });

  it("reads old messages and new ones when a field was added", async () => {
    const writer = newClient();
    const older = await register("evolving-value", one, { client: writer });
    const newer = await register("evolving-value", two, { client: writer });
    const reader = newClient();
    expect(await reader.decode(await writer.encode(older.id, { a: "x" }))).toEqual({ a: "x" });
    expect(await reader.decode(await writer.encode(newer.id, { a: "x", b: 3 }))).toMatchObject({
      a: "x",
      b: 3,
    });
    expect(await versionsOf("evolving-value")).toEqual([1, 2]);
  });

  it("is refused a schema that is incompatible, or that is none", async () => {
    await register("strict-value", one);
    const refused = register("strict-value", incompatible);
    await expect(refused).rejects.toMatchObject({ status: 409 });
    await expect(refused).rejects.toThrow("#/M/1");
    expect(await versionsOf("strict-value")).toEqual([1]);
    await expect(register("faulty-value", textOf("Other a = 1;"))).rejects.toMatchObject({ status: 422 });
  });

  it("registers a schema that imports another, and reads its messages", async () => {
    await register("shop/test/m.proto", one);
    const references = [{ name: "shop/test/m.proto", subject: "shop/test/m.proto", version: 1 }];
    const text = `syntax = "proto3";\npackage shop.whole;\nimport "shop/test/m.proto";\nmessage W {\n  repeated shop.test.M m = 1;\n}\n`;
    await expect(register("whole-value", text)).rejects.toMatchObject({ status: 422 });
    const writer = newClient();
    const { id } = await register("whole-value", text, { client: writer, references });
    const bytes = await writer.encode(id, { m: [{ a: "x" }, { a: "y" }] });
    expect(await newClient().decode(bytes)).toMatchObject({ m: [{ a: "x" }, { a: "y" }] });
  });
});

describe("@kafkajs/confluent-schema-registry beside @confluentinc/schemaregistry", () => {
  /** A message as the other client writes it, which registers the schema that it was compiled with. */
  function written<S extends DescMessage>(
    schema: S,
    topic: string,
    init?: MessageInitShape<S>,
  ): Promise<Buffer> {
    const client = new confluent.SchemaRegistryClient({
      baseURLs: [registry.url],
      basicAuthCredentials: { credentialsSource: "USER_INFO", userInfo: `x:${registry.registryToken}` },
    });
    const settings = { autoRegisterSchemas: true };
    const writer = new confluent.ProtobufSerializer(client, confluent.SerdeType.VALUE, settings);
    writer.registry.add(schema);
    return writer.serialize(topic, create(schema, init));
  }

  it("reads what that has written, with the schema and its import as text", async () => {
    const lines = [{ sku: "mug", quantity: 2 }];
    const bytes = await written(ReserveStockSchema, "stock", { orderId: "o1", lines });
    expect(await newClient().decode(bytes)).toMatchObject({ orderId: "o1", lines });
  });

  it("cannot read what has a well-known type in it: it brings none along", async () => {
    const bytes = await written(OrderCreatedSchema, "orders", { order: { orderId: "o1" } });
    await expect(newClient().decode(bytes)).rejects.toThrow(".google.protobuf.Timestamp");
  });

  it("has its messages read by that, with the schema as a descriptor", async () => {
    const writer = newClient();
    const { id } = await register("both-value", one, { client: writer });
    const bytes = await writer.encode(id, { a: "x" });
    const client = new confluent.SchemaRegistryClient({ baseURLs: [registry.url] });
    const reader = new confluent.ProtobufDeserializer(client, confluent.SerdeType.VALUE, {});
    // It leaves out which message of the file this is.
    const whole = framed(id, bytes.subarray(5));
    expect(await reader.deserialize("both", whole)).toMatchObject({ a: "x" });
  });

  it("understands the text of every schema that the shop's services register", async () => {
    const ids = await registerShop(registry);
    expect(ids.size).toBeGreaterThan(20);
    const reader = newClient();
    for (const [{ schema }, id] of ids) {
      expect(await reader.getSchema(id)).toMatchObject({ message: { name: schema.name } });
    }
  });
});

describe("@kafkajs/confluent-schema-registry, which sets a level where a subject has none", () => {
  it("is refused that with a token that may register, so that the level of all still holds", async () => {
    await level("", "FULL_TRANSITIVE");
    const registered = register("weak-value", one, { config: {} });
    await expect(registered).rejects.toMatchObject({ status: 403 });
    // It sets the level after it has registered.
    expect(await versionsOf("weak-value")).toEqual([1]);
    expect(await level("weak-value")).toBeUndefined();
    expect(await level("")).toBe("FULL_TRANSITIVE");
    // Backward compatible, and not forward.
    const more = `${one}message N {}\n`;
    await expect(register("weak-value", more)).rejects.toMatchObject({ status: 409 });
    await level("", "BACKWARD_TRANSITIVE");
    await register("weak-value", more);
  });

  it("sets it with the operator's token", async () => {
    const client = newClient(registry.operatorToken);
    await register("set-value", one, { client, config: {} });
    expect(await level("set-value")).toBe("BACKWARD");
    await register("set-value", two, { config: {} });
    expect(await versionsOf("set-value")).toEqual([1, 2]);
  });

  it("leaves a level alone that it names itself, and registers nothing where it expects another", async () => {
    await level("named-value", "FULL_TRANSITIVE");
    const compatibility = kafkajs.COMPATIBILITY.FULL_TRANSITIVE;
    await register("named-value", one, { config: { compatibility } });
    const unexpected = register("named-value", two, { config: {} });
    await expect(unexpected).rejects.toThrow("BACKWARD != FULL_TRANSITIVE");
    expect(await versionsOf("named-value")).toEqual([1]);
    expect(await level("named-value")).toBe("FULL_TRANSITIVE");
  });

  it("may not register without a token", async () => {
    const client = new kafkajs.SchemaRegistry({ host: registry.url });
    await expect(register("nobody-value", one, { client })).rejects.toMatchObject({
      status: 401,
      unauthorized: true,
    });
  });
});
