import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { writeCredentials } from "../../nats/mod.ts";
import { findNatsServer, projectFolder } from "../../tools/nats_server.mjs";
import { freePorts, until } from "../support/mod.ts";

/** nats-servers on loopback that run apart from any shop: one as `nats/server.conf`, three as `nats/cluster/` says. */
export interface Nodes extends AsyncDisposable {
  /** Comma-separated URLs of all. */
  readonly servers: string;
  /** Comma-separated URLs of the monitoring of all. */
  readonly monitors: string;
  /** Folder of the seeds by which they let the services and the operator in. */
  readonly credentials: string;
  readonly names: readonly string[];
  /** Holds their stores, configurations and logs. */
  readonly folder: string;
  /** Folder in which a node keeps its streams. */
  store(name: string): string;
  /** SIGKILL; it stays down until `start()`. */
  kill(name: string): Promise<void>;
  /** Asks it to end; it stays down until `start()`. */
  stop(name: string): Promise<void>;
  signal(name: string, signal: NodeJS.Signals): void;
  start(name: string, options?: { maxFileStore?: string }): Promise<void>;
  /** Resolves when every node serves, and its copies have caught up with their leaders. */
  healthy(): Promise<void>;
  /** The node that leads the cluster, undefined if there is none just now. */
  metaLeader(): Promise<string | undefined>;
}

export interface NodesOptions {
  readonly count: 1 | 3;
  /** Default `10GB`. */
  readonly maxFileStore?: string;
}

/** Recovery of a store, and catching up with what was missed, on a machine that does many other things. */
const READY_MS = 60_000;
/** A node that is stopped accepts connections, and says nothing. */
const MONITOR_TIMEOUT_MS = 1_000;

export async function startNodes({ count, maxFileStore = "10GB" }: NodesOptions): Promise<Nodes> {
  const { path } = findNatsServer();
  const folder = await mkdtemp(join(tmpdir(), "nats-nodes-"));
  const credentials = join(folder, "credentials");
  const { authorization } = writeCredentials(credentials);
  const ports = await freePorts(count * 3);
  const nodes = Array.from({ length: count }, (_, index) => {
    const name = `node-${index + 1}`;
    const [port = 0, monitor = 0, route = 0] = ports.slice(index * 3);
    return { name, port, monitor, route, config: join(folder, `${name}.conf`), store: join(folder, name) };
  });
  const routes = JSON.stringify(nodes.map(({ route }) => `nats://127.0.0.1:${route}`));
  const configuration = join(projectFolder, "nats", count === 1 ? "server.conf" : "cluster/server.conf");
  const running = new Map<string, ChildProcess>();
  const find = (name: string) => {
    const node = nodes.find((other) => other.name === name);
    if (node === undefined) throw new RangeError(`There is no node "${name}"`);
    return node;
  };

  const launch: Nodes["start"] = async (name, options = {}) => {
    const { port, monitor, route, config, store } = find(name);
    const includes = [configuration, authorization].map(
      (file) => `include ${JSON.stringify(relative(folder, file))}\n`,
    );
    await writeFile(config, includes.join(""));
    const child = spawn(path, ["--config", config], {
      stdio: "ignore",
      env: {
        NATS_SERVER_NAME: name,
        NATS_HOST: "127.0.0.1",
        NATS_PORT: String(port),
        NATS_MONITOR_PORT: String(monitor),
        NATS_CLUSTER_PORT: String(route),
        NATS_ROUTES: routes,
        NATS_STORE_DIR: JSON.stringify(store),
        NATS_LOG_FILE: JSON.stringify(join(folder, `${name}.log`)),
        NATS_MAX_FILE_STORE: options.maxFileStore ?? maxFileStore,
      },
    });
    running.set(name, child);
    // Alone it cannot become healthy where it is one of three: it listens, which is all that is asked here.
    await until(`${name} to listen`, async () => {
      if (child.exitCode !== null) throw new Error(`Cannot start ${name}: it ended with ${child.exitCode}`);
      return answersOk(monitor, count === 1 ? "healthz" : "varz");
    });
  };
  const end = async (name: string, signal: NodeJS.Signals) => {
    const child = running.get(name);
    running.delete(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    await gone;
  };

  const result: Nodes = {
    servers: nodes.map(({ port }) => `nats://127.0.0.1:${port}`).join(","),
    monitors: nodes.map(({ monitor }) => `http://127.0.0.1:${monitor}`).join(","),
    credentials,
    folder,
    names: nodes.map(({ name }) => name),
    store: (name) => find(name).store,
    kill: (name) => end(name, "SIGKILL"),
    stop: (name) => end(name, "SIGTERM"),
    signal: (name, signal) => void running.get(name)?.kill(signal),
    start: launch,
    async healthy() {
      for (const { name, monitor } of nodes) {
        await until(`${name} to be healthy`, () => answersOk(monitor, "healthz"), { timeoutMs: READY_MS });
      }
      if (count === 3) await until("the nodes to have a leader", result.metaLeader, { timeoutMs: READY_MS });
    },
    async metaLeader() {
      const told = await Promise.all(nodes.map(({ monitor }) => metaLeaderBy(monitor)));
      return told.find((leader) => leader !== undefined);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map(({ name }) => end(name, "SIGKILL")));
      await rm(folder, { recursive: true, force: true });
    },
  };
  await Promise.all(nodes.map(({ name }) => launch(name)));
  await result.healthy();
  return result;
}

async function answersOk(monitor: number, path: string): Promise<boolean> {
  const signal = AbortSignal.timeout(MONITOR_TIMEOUT_MS);
  return (await fetch(`http://127.0.0.1:${monitor}/${path}`, { signal }).catch(() => ({ ok: false }))).ok;
}

async function metaLeaderBy(monitor: number): Promise<string | undefined> {
  const signal = AbortSignal.timeout(MONITOR_TIMEOUT_MS);
  const answer = await fetch(`http://127.0.0.1:${monitor}/jsz`, { signal }).catch(() => undefined);
  const state = (await answer?.json()) as { meta_cluster?: { leader?: string } } | undefined;
  return state?.meta_cluster?.leader || undefined;
}
