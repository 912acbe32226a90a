import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type Access, type ConnectOptions, connect, type Log } from "../../nats/mod.ts";
import { findNatsServer } from "../../tools/nats_server.mjs";
import { freePorts } from "./ports.ts";
import { until } from "./until.ts";

/** A real nats-server of a test's own: free ports, a store folder that goes away with it. */
export interface NatsServer extends AsyncDisposable {
  readonly url: string;
  readonly monitorUrl: string;
  /** As the operator, unless `options` say otherwise. */
  connect(name?: string, options?: Partial<ConnectOptions>): Promise<Client>;
  /**
   * SIGKILL, and the same server again on the same ports and store.
   * @param meanwhile Called with the server's `store_dir` while it does not run. Default: nothing.
   */
  restart(meanwhile?: (store: string) => Promise<unknown>): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

export interface Client {
  connection: NatsConnection;
  js: JetStreamClient;
  jsm: JetStreamManager;
}

export const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const configuration = fileURLToPath(new URL("../../nats/server.conf", import.meta.url));

export interface NatsOptions {
  /** Changes the project's configuration: `nats/server.conf` as text. */
  configure?: (text: string) => string;
  /** What the configuration finds in its environment, besides what `nats/server.conf` wants. */
  environment?: Record<string, string>;
  /** How `connect()` gets in. Default: without a credential and without encryption. */
  access?: Omit<Access, "servers">;
}

export async function startNats({
  configure,
  environment,
  access = {},
}: NatsOptions = {}): Promise<NatsServer> {
  const { path } = findNatsServer();
  const [port = 0, monitorPort = 0] = await freePorts(2);
  const folder = await mkdtemp(join(tmpdir(), "nats-test-"));
  const url = `nats://127.0.0.1:${port}`;
  const monitorUrl = `http://127.0.0.1:${monitorPort}`;
  const connections: NatsConnection[] = [];

  const changed = join(folder, "server.conf");
  if (configure !== undefined) await writeFile(changed, configure(await readFile(configuration, "utf8")));

  const start = async (): Promise<ChildProcess> => {
    const child = spawn(path, ["--config", configure === undefined ? configuration : changed], {
      stdio: "ignore",
      env: {
        NATS_HOST: "127.0.0.1",
        NATS_PORT: String(port),
        NATS_MONITOR_PORT: String(monitorPort),
        NATS_STORE_DIR: folder,
        NATS_LOG_FILE: join(folder, "nats.log"),
        NATS_MAX_FILE_STORE: "10GB",
        ...environment,
      },
    });
    await until("nats-server", async () => {
      if (child.exitCode !== null) throw new Error(`nats-server exited with ${child.exitCode}`);
      return (await fetch(`${monitorUrl}/healthz`).catch(() => ({ ok: false }))).ok;
    });
    return child;
  };
  const stop = (child: ChildProcess, signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    return gone;
  };

  let server = await start();
  return {
    url,
    monitorUrl,
    async connect(name = "test", options = {}) {
      const connection = await connect({ servers: url, name, log: silent, ...access, ...options });
      connections.push(connection);
      return {
        connection,
        js: jetstream(connection),
        jsm: await jetstreamManager(connection, { checkAPI: false }),
      };
    },
    async restart(meanwhile = async () => undefined) {
      await stop(server, "SIGKILL");
      await meanwhile(folder);
      server = await start();
    },
    signal: (signal) => void server.kill(signal),
    async [Symbol.asyncDispose]() {
      await Promise.all(connections.map((connection) => connection.close()));
      await stop(server, "SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
