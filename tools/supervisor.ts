import { readFileSync } from "node:fs";
import { type Access, announceShop, orAborted } from "../nats/mod.ts";
import { type Service, services as shopServices } from "../services/mod.ts";
import { type Child, createChild } from "./child.ts";
import { claimDataDir, credentialsFolder, stopLeftoverNatsServer } from "./data_dir.ts";
import { findNatsServer, type NatsServer, projectFolder } from "./nats_server.mjs";
import { startAll, startServices } from "./opening.ts";
import { assertPortsFree, freePorts } from "./ports.ts";
import {
  httpUrl,
  LogFiles,
  natsServerFiles,
  natsServerName,
  natsServerProcess,
  natsUrl,
  operatorAccess,
  portUses,
  type Settings,
  serviceProcess,
  writeNatsFiles,
} from "./processes.ts";
import { StartError } from "./start_error.ts";
import { watchStore } from "./store_watch.ts";

export interface ShopOptions {
  /** Holds all state. One shop at a time. */
  readonly dataDir: string;
  /** Called when nats-server is up and before any service starts: makes the streams and consumers. */
  readonly prepare: (operator: Access, options: { signal: AbortSignal }) => Promise<void>;
  /** Default: all of `services/mod.ts`. */
  readonly services?: readonly Service[];
  /** Folder that holds `services/`, and all that the services may read. Default: the project's. */
  readonly root?: string;
  /**
   * Ports by the variable that names them (NATS_PORT, NATS_MONITOR_PORT, ORDER_PORT …), or `"free"` to take any.
   * Default of each: the one of `services/mod.ts`; 4222 and 8222.
   */
  readonly ports?: Readonly<Record<string, number>> | "free";
  /** Bearer token of the operator endpoints. Default `dev`. */
  readonly operatorToken?: string;
  /** What all streams together may take on the disk, as nats-server writes sizes. Default `10GB`. */
  readonly maxFileStore?: string;
  /** What the services' environment has besides what the shop sets. Default: this process's own. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** What one service finds otherwise than all others, be it set by the shop. Default: nothing. */
  readonly environmentOf?: (service: string) => Readonly<Record<string, string>>;
  /** Comma-separated URLs of servers that run already; the shop starts none then. Default: it starts its own. */
  readonly servers?: string;
  /** Folder of the nkey seeds for `servers`. Default: they let anybody in. The shop makes those of its own server. */
  readonly credentials?: string;
  /** Where the services' logs go. Default `inherit`: where this process's own output goes. */
  readonly logs?: "inherit" | { readonly file: string };
  /** Takes one line at a time about what starts, dies and stops. Default: standard error. */
  readonly report?: (line: string) => void;
  /** Default: what `findNatsServer()` finds. */
  readonly natsServer?: NatsServer;
  /** How long each process may take to become ready. Default: as long as it takes, since a slow machine is no fault. */
  readonly readyWithinMs?: number;
  /** Aborting it while the shop starts stops what has started; `startShop()` then rejects with its reason. */
  readonly signal?: AbortSignal;
}

/**
 * A shop that runs. Names are those of its services, and `nats-server` if it is the shop's own; others are a
 * `RangeError`.
 */
export interface Shop extends AsyncDisposable {
  readonly natsUrl: string;
  /** For whoever makes streams and looks at everything: the servers, and the operator's credential for the shop's own. */
  readonly operator: Access;
  /** The folder of its state, absolute. */
  readonly dataDir: string;
  /** Base URL of a service; of nats-server, the one of its monitoring. */
  url(name: string): string;
  /** Undefined while it does not run. */
  pid(name: string): number | undefined;
  /** Sends a signal, default SIGKILL, and resolves when the process is gone. It is started again soon after. */
  kill(name: string, signal?: NodeJS.Signals): Promise<void>;
  /** Resolves when it is ready, be it after a restart. */
  ready(name: string): Promise<void>;
  /** Resolves when every process is ready, those that only look on as well. */
  allReady(): Promise<void>;
  /** Drains it and leaves it down until `start()`. */
  stop(name: string): Promise<void>;
  /** Starts what was stopped, and resolves when it is ready. */
  start(name: string): Promise<void>;
  /** Drains it, starts it, and resolves when it is ready. */
  restart(name: string): Promise<void>;
  /** Drains the services, then nats-server; what has not ended after `graceMs` (default 10,000) is killed. */
  shutdown(options?: { graceMs?: number }): Promise<void>;
  /** Kills everything at once. What was acknowledged is on the disk. */
  close(): void;
}

const standardGraceMs = 10_000;
/** A service whose supervisor was killed drains by itself, for at most 15 s (`lib/`), and holds its port meanwhile. */
const leftoverPortsMs = 20_000;
const logTailLines = 5;

/**
 * Runs the shop: nats-server, then what `prepare` does, then one process per service. Resolves when it is open: when all that
 * orders need is ready. What only looks on comes when it comes, and says so. From then on a process that dies is started
 * again, with a line about it, until `shutdown()` or `close()`.
 *
 * All processes end with this one. Killed by SIGKILL it cannot see to that, but services notice that it is gone, and
 * the next start on the same folder stops the nats-server that was left behind.
 *
 * @throws {StartError} If a port is taken, the folder is in use, or a process that orders need ends before it is ready.
 * Nothing runs then.
 * @throws {NatsServerError} If there is no usable nats-server.
 */
export async function startShop(options: ShopOptions): Promise<Shop> {
  const { prepare, signal = new AbortController().signal } = options;
  const natsServer = options.natsServer ?? findNatsServer();
  const claim = claimDataDir(options.dataDir);
  const settings = await resolveSettings(options, { dataDir: claim.path, natsServer });
  const { report, services } = settings;
  const shop = assemble(settings, { release: claim.release });
  const steps = async () => {
    await stopLeftoverNatsServer(natsServerFiles(settings).pid, { report });
    const uses = portUses(services).map((use) => ({
      ...use,
      port: settings.ports[use.variable] ?? use.port,
    }));
    await assertPortsFree(uses, { waitMs: claim.wasLeftBehind ? leftoverPortsMs : 0 });
    if (options.servers === undefined) await shop.startNatsServer();
    shop.announce();
    await prepare(shop.operator, { signal });
    await shop.open();
  };
  try {
    await orAborted(steps(), signal);
    return shop;
  } catch (cause) {
    await shop.shutdown();
    throw cause;
  }
}

/**
 * A shop of which everything is ready, what only looks on as well: for tests and measurements. Nothing in it takes longer
 * than a minute unless `readyWithinMs` says otherwise.
 *
 * @throws As {@linkcode startShop} does, and `StartError` if something is not ready in time.
 */
export async function startWholeShop(options: ShopOptions): Promise<Shop> {
  const { signal = new AbortController().signal } = options;
  const shop = await startShop({ readyWithinMs: 60_000, ...options });
  try {
    await orAborted(shop.allReady(), signal);
    return shop;
  } catch (cause) {
    await shop.shutdown();
    throw cause;
  }
}

async function resolveSettings(
  options: ShopOptions,
  found: Pick<Settings, "dataDir" | "natsServer">,
): Promise<Settings> {
  const services = options.services ?? shopServices;
  const uses = portUses(services);
  const standard = Object.fromEntries(uses.map(({ variable, port }) => [variable, port]));
  const free = options.ports === "free" ? await freePorts(uses.length) : [];
  return {
    ...found,
    services,
    root: options.root ?? projectFolder,
    ports:
      options.ports === "free"
        ? Object.fromEntries(uses.map(({ variable }, i) => [variable, free[i] as number]))
        : { ...standard, ...options.ports },
    operatorToken: options.operatorToken ?? "dev",
    maxFileStore: options.maxFileStore ?? "10GB",
    environment: options.environment ?? process.env,
    environmentOf: options.environmentOf ?? (() => ({})),
    servers: options.servers,
    credentials: options.servers === undefined ? credentialsFolder(found.dataDir) : options.credentials,
    logs: options.logs ?? "inherit",
    report: options.report ?? ((line) => process.stderr.write(`${line}\n`)),
    readyWithinMs: options.readyWithinMs,
  };
}

/** A shop that does not take orders yet. */
interface Unopened extends Shop {
  startNatsServer(): Promise<void>;
  /** Lets others on this machine find it. */
  announce(): void;
  /** Starts the services, and resolves when those are ready that orders need. */
  open(): Promise<void>;
}

/** The shop's processes, none of them started yet. */
function assemble(settings: Settings, { release }: { release: () => void }): Unopened {
  const logs = new LogFiles();
  const natsServer = createChild(natsServerProcess(settings, logs));
  const childOf = (service: Service) => createChild(serviceProcess(service, settings, logs));
  const needed = settings.services.filter(({ looksOn }) => !looksOn).map(childOf);
  const onlookers = settings.services.filter(({ looksOn }) => looksOn).map(childOf);
  const services = [...needed, ...onlookers];
  const own = settings.servers === undefined ? [natsServer, ...services] : services;
  const children = new Map(own.map((child) => [child.name, child]));
  const find = (name: string): Child => {
    const child = children.get(name);
    if (child === undefined) throw new RangeError(`There is no process "${name}"`);
    return child;
  };
  let stopped: Promise<void> | undefined;
  let announced: Disposable | undefined;
  let watched: Disposable | undefined;

  const shop: Unopened = {
    natsUrl: natsUrl(settings),
    operator: operatorAccess(settings),
    dataDir: settings.dataDir,
    url: (name) => httpUrl(name, settings),
    pid: (name) => find(name).pid,
    kill: (name, signal = "SIGKILL") => find(name).kill(signal),
    ready: (name) => find(name).ready(),
    async allReady() {
      await Promise.all(own.map((child) => child.ready()));
    },
    async startNatsServer() {
      await startNatsServer(natsServer, settings);
      const { report } = settings;
      const { store } = natsServerFiles(settings);
      if (stopped === undefined) {
        watched = watchStore({ natsServer, monitorUrl: shop.url(natsServerName), store, report });
      }
    },
    announce() {
      const { servers: natsUrl, nkeyFile } = shop.operator;
      const urls = Object.fromEntries([...children.keys()].map((name) => [name, shop.url(name)]));
      const { operatorToken } = settings;
      announced = announceShop(settings.dataDir, {
        pid: process.pid,
        natsUrl,
        nkeyFile,
        operatorToken,
        urls,
      });
    },
    open: () =>
      startServices(
        { needed, onlookers },
        { report: settings.report, isStopping: () => stopped !== undefined },
      ),
    stop: (name) => find(name).stop({ graceMs: standardGraceMs }),
    async start(name) {
      if (stopped !== undefined) throw new Error(`Cannot start ${name}: the shop is closed`);
      await find(name).start();
    },
    async restart(name) {
      await shop.stop(name);
      await shop.start(name);
    },
    shutdown({ graceMs = standardGraceMs } = {}) {
      watched?.[Symbol.dispose]();
      stopped ??= (async () => {
        await Promise.all(services.map((child) => child.stop({ graceMs })));
        // Last, since draining services commit and acknowledge what they have in hand.
        await natsServer.stop({ graceMs });
        shop.close();
      })();
      return stopped;
    },
    close() {
      watched?.[Symbol.dispose]();
      stopped ??= Promise.resolve();
      for (const child of children.values()) child.close();
      logs[Symbol.dispose]();
      announced?.[Symbol.dispose]();
      release();
      process.off("exit", shop.close);
    },
    [Symbol.asyncDispose]: () => shop.shutdown(),
  };
  // Whatever ends this process, short of SIGKILL, takes the others with it.
  process.on("exit", shop.close);
  return shop;
}

async function startNatsServer(natsServer: Child, settings: Settings): Promise<void> {
  writeNatsFiles(settings, { credentials: credentialsFolder(settings.dataDir) });
  try {
    await startAll([natsServer], settings.report);
  } catch (cause) {
    if (!(cause instanceof StartError)) throw cause;
    // Its reasons are in its log and not on the terminal.
    const { log } = natsServerFiles(settings);
    const tail = readFileSync(log, "utf8").trimEnd().split("\n").slice(-logTailLines);
    throw new StartError(`${cause.message}; the end of ${log}:\n  ${tail.join("\n  ")}`, { cause });
  }
  settings.report(`nats-server ${settings.natsServer.version} is ready on ${natsUrl(settings)}`);
}
