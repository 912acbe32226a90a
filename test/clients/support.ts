import { spawn } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Contract } from "../../nats/contracts/mod.ts";
import { applyTopology, passStartGate, SchemaStore, servicesOf, topology } from "../../nats/mod.ts";
import { nodeArguments, services } from "../../services/mod.ts";
import { installPackages } from "../../tools/install_packages.ts";
import { projectFolder } from "../../tools/nats_server.mjs";
import { freePorts, type NatsServer, silent, startNats, until } from "../support/mod.ts";

/** For a test file's `beforeAll`. The packages are installed once, which takes half a minute on two cores. */
export const INSTALL_TIMEOUT_MS = 600_000;

/**
 * Packages of this folder. They are not there before this, so that a file can import their types only:
 *
 * ```ts
 * import type * as Asyncapi from "@asyncapi/parser";
 *
 * const load = await installClients();
 * const { Parser } = load<typeof Asyncapi>("@asyncapi/parser");
 * ```
 */
export async function installClients(): Promise<<T>(name: string) => T> {
  await installPackages(import.meta.dirname);
  return createRequire(import.meta.url) as <T>(name: string) => T;
}

/** A registry as the shop runs it: a process with no more permissions than it is given there, and real streams. */
export interface TestRegistry extends AsyncDisposable {
  readonly url: string;
  readonly nats: NatsServer;
  /** May register. */
  readonly registryToken: string;
  /** May also delete and change settings. */
  readonly operatorToken: string;
}

export async function startRegistry(): Promise<TestRegistry> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), "registry-test-")));
  stack.defer(() => rm(dataDir, { recursive: true }));
  await mkdir(join(dataDir, "registry"));
  const service = services.find(({ name }) => name === "registry");
  if (service === undefined) throw new Error("there is no registry");
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const tokens = { registryToken: "of-a-registrant", operatorToken: "of-the-operator" };
  const child = spawn(process.execPath, nodeArguments(service, { root: projectFolder, dataDir }), {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      NATS_URL: nats.url,
      DATA_DIR: dataDir,
      REGISTRY_PORT: String(port),
      REGISTRY_TOKEN: tokens.registryToken,
      OPERATOR_TOKEN: tokens.operatorToken,
    },
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  stack.defer(() => {
    child.kill("SIGTERM");
    return exited;
  });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const isReady = async () => {
    if (child.exitCode !== null) throw new Error(`The registry exited: ${(await said).join("")}`);
    return (await fetch(`${url}/readyz`).catch(() => ({ ok: false }))).ok;
  };
  await until("the registry", isReady, { timeoutMs: 30_000 });
  const running = stack.move();
  return {
    url,
    nats,
    ...tokens,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Has every service of the shop register what it stores, as each does at its start, and returns the ids. */
export async function registerShop({ url, nats }: TestRegistry): Promise<ReadonlyMap<Contract, number>> {
  const { connection, jsm } = await nats.connect();
  await using store = new SchemaStore(connection, { source: "/test", log: silent });
  const ids = new Map<Contract, number>();
  for (const service of servicesOf(topology)) {
    const urls = await passStartGate({ jsm, store }, { service, registryUrl: url, log: silent });
    for (const [contract, schema] of urls) ids.set(contract, Number(schema.split("/").at(-1)));
  }
  return ids;
}

/** A message as these clients frame it: which schema, and the first message of its file. */
export function framed(schemaId: number, payload: Uint8Array): Buffer {
  const id = Buffer.alloc(4);
  id.writeInt32BE(schemaId);
  return Buffer.concat([Buffer.of(0), id, Buffer.of(0), payload]);
}
