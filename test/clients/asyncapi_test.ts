import type * as Asyncapi from "@asyncapi/parser";
import type * as Protobuf from "@asyncapi/protobuf-schema-parser";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  applyTopology,
  passStartGate,
  publishedBy,
  SchemaStore,
  servicesOf,
  topology,
} from "../../nats/mod.ts";
import { runOps } from "../../ops/program.ts";
import { collect } from "../../ops/testing.ts";
import { type NatsServer, silent, startNats } from "../support/mod.ts";
import { INSTALL_TIMEOUT_MS, installClients } from "./support.ts";

let parser: Asyncapi.Parser;
let nats: NatsServer;

beforeAll(async () => {
  const load = await installClients();
  const { Parser } = load<typeof Asyncapi>("@asyncapi/parser");
  const { ProtoBuffSchemaParser } = load<typeof Protobuf>("@asyncapi/protobuf-schema-parser");
  parser = new Parser();
  parser.registerSchemaParser(ProtoBuffSchemaParser());

  nats = await startNats();
  await applyTopology({ servers: nats.url });
  const { connection, jsm } = await nats.connect();
  await using store = new SchemaStore(connection, { source: "test", log: silent });
  for (const service of servicesOf(topology)) {
    if (publishedBy(service).length === 0) continue;
    await passStartGate({ jsm, store }, { service, registryUrl: "http://registry", log: silent });
  }
  await jsm.consumers.add("ORDER", { durable_name: "somebody:else's" });
}, INSTALL_TIMEOUT_MS);
afterAll(() => nats?.[Symbol.asyncDispose]());

/** What `npm run ops -- catalog --asyncapi` prints. */
async function printed(): Promise<string> {
  const { output, text } = collect();
  const environment = { NATS_URL: nats.url, DATA_DIR: "/nowhere" };
  expect(await runOps(["catalog", "--asyncapi"], { output, environment })).toBe(0);
  return text().out;
}

it("the AsyncAPI document is valid to the official parser, payloads in Protobuf included", async () => {
  const { document, diagnostics } = await parser.parse(await printed());
  // It would have the specification's next version, and nothing else to say.
  expect(diagnostics.filter(({ code }) => code !== "asyncapi-latest-version")).toEqual([]);
  if (document === undefined) throw new Error("there is no document");
  const contracts = topology.contracts ?? [];
  expect(document.version()).toBe("3.0.0");
  expect(document.allChannels().all()).toHaveLength(contracts.length);
  expect(
    document
      .allMessages()
      .all()
      .map((message) => message.name())
      .sort(),
  ).toEqual(contracts.map(({ schema }) => schema.typeName).sort());

  const created = document.allChannels().get("order.created");
  expect(created?.address()).toBe("order.created.{order}");
  const operations = created?.operations().all() ?? [];
  expect(operations.map((operation) => operation.id())).toEqual([
    "order.send.order.created",
    "coordinator.receive.order.created",
    "notification.receive.order.created",
    "analytics.receive.order.created",
    "somebody_else_s.receive.order.created",
  ]);
  expect(operations[4]?.extensions().get("x-declared")?.value()).toBe(false);
});

it("every payload is read as its message, with what it takes from other files", async () => {
  const { document } = await parser.parse(await printed());
  const messages = document?.allMessages().all() ?? [];
  for (const { schema } of topology.contracts ?? []) {
    const message = messages.find((it) => it.name() === schema.typeName);
    const payload = message?.payload();
    expect(payload?.title()).toBe(schema.name);
    expect(Object.keys(payload?.properties() ?? {})).toEqual(schema.fields.map(({ name }) => name));
    expect(message?.headers()?.properties()?.["ce-type"]?.const()).toBe(schema.typeName);
  }
  const state = messages.find((message) => message.name() === "shop.checkout.v1.CheckoutState")?.payload();
  const address = state?.properties()?.order?.properties()?.shipping_address;
  expect(Object.keys(address?.properties() ?? {})).toContain("postal_code");
});

it("the parser finds what is wrong with a payload", async () => {
  const broken = (await printed()).replace("message OrderCreated {", "mesage OrderCreated {");
  const { diagnostics } = await parser.parse(broken);
  expect(diagnostics.filter(({ severity }) => severity === 0)).not.toEqual([]);
});
