import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Hono } from "hono";
import { createApp, createLog, createMetrics, type Env } from "../../lib/mod.ts";
import { applyTopology, SCHEMAS, SCHEMAS_STREAM, SchemaStore, type Topology } from "../../nats/mod.ts";
// biome-ignore lint/style/noRestrictedImports: no part of the service, but what its tests start it with
import { checked } from "../../test/support/openapi.ts";
import { MAX_REGISTRY_BODY_BYTES, routes } from "./app.ts";
import { Compiler } from "./compiler.ts";
import { Mirror } from "./mirror.ts";

/** What `startNats()` and `connect()` of a test make. */
interface Server {
  readonly url: string;
  connect(): Promise<Client>;
}
interface Client {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
}

/** The registry's bucket, and nothing of the shop. */
const topology: Topology = {
  streams: [],
  buckets: [{ name: SCHEMAS, owner: "registry", description: "Schemas" }],
  consumers: [],
};

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what is in an answer is what a test is about.
  body: any;
}

export interface Asked {
  query?: string;
  headers?: Record<string, string>;
  /** As it is sent; the parameter `body` is sent as JSON. */
  raw?: string | Uint8Array<ArrayBuffer>;
}

/** A registry on a server of its own, as its clients see it. */
export interface TestRegistry extends AsyncDisposable {
  readonly client: Client;
  readonly app: Hono<Env>;
  ask(method: string, path: string, body?: unknown, options?: Asked): Promise<Answer>;
  /** Sequence of the last message of the bucket: whatever is stored moves it. */
  lastSequence(): Promise<number>;
}

export async function startRegistry(
  nats: Server,
  { registryToken }: { registryToken?: string } = {},
): Promise<TestRegistry> {
  await using stack = new AsyncDisposableStack();
  await applyTopology({ servers: nats.url, topology });
  const client = await nats.connect();
  const folder = await mkdtemp(join(tmpdir(), "registry-test-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const app = stack.use(openApp(client, { folder, registryToken }));
  const running = stack.move();
  return {
    client,
    app: app.app,
    ask: (method, path, body, options) => ask(app.app, { method, path, body }, options),
    lastSequence: async () => (await client.jsm.streams.info(SCHEMAS_STREAM)).state.last_seq,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** One process of the registry, without its port. */
export function openApp(
  { connection }: Pick<Client, "connection">,
  { folder, registryToken }: { folder: string; registryToken?: string | undefined },
): { app: Hono<Env> } & AsyncDisposable {
  const log = createLog("registry");
  log.level = "silent";
  const store = new SchemaStore(connection, { source: "/services/registry", log });
  const registry = { store, mirror: new Mirror(connection), compiler: new Compiler(folder) };
  const ground = { log, metrics: createMetrics("registry"), maxBodyBytes: MAX_REGISTRY_BODY_BYTES };
  const app = checked(routes(createApp(ground), { ...registry, registryToken, operatorToken: "operator" }));
  return { app, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

async function ask(
  app: Hono<Env>,
  { method, path, body }: { method: string; path: string; body: unknown },
  { query = "", headers = {}, raw }: Asked = {},
): Promise<Answer> {
  const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const type = { "content-type": "application/vnd.schemaregistry.v1+json" };
  const response = await app.request(`${path}${query && `?${query}`}`, {
    method,
    headers: { ...type, ...headers },
    ...(sent !== undefined && { body: sent }),
  });
  const text = await response.text();
  return { status: response.status, body: isJson(text) ? JSON.parse(text) : text };
}

function isJson(text: string): boolean {
  return /^([[{"\d]|true|false|null)/.test(text);
}

/** A file as a client sends it in base64. */
export function base64Of(file: FileDescriptorProto): string {
  return Buffer.from(toBinary(FileDescriptorProtoSchema, file)).toString("base64");
}

/** A file with one message. */
export function protoOf(
  fields: string,
  options: { name?: string; imports?: readonly string[] } = {},
): string {
  const { name = "Order", imports = [] } = options;
  const lines = imports.map((path) => `import "${path}";\n`);
  return `syntax = "proto3";\npackage shop;\n${lines.join("")}message ${name} {\n  ${fields}\n}\n`;
}
