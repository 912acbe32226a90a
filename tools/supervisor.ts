import { readFileSync } from "node:fs";
import { type Access, orAborted } from "../nats/mod.ts";
import { type Service, services as shopServices } from "../services/mod.ts";
import { type Child, createChild } from "./child.ts";
import { claimDataDir, credentialsFolder, stopLeftoverNatsServer } from "./data_dir.ts";
import { findNatsServer, type NatsServer, projectFolder } from "./nats_server.mjs";
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

export interface ShopOptions {
  /** Holds all state. One shop at a time. */
  readonly dataDir: string;
  /** Called when nats-server is up and before any service starts: makes the streams and consumers. */
  readonly prepare: (operator: Access) => Promise<void>;
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
  /** How long each process may take to become ready. Default 60,000. */
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
const stillWaitingEveryMs = 5_000;
const logTailLines = 5;

/**
 * Runs the shop: nats-server, then what `prepare` does, then one process per service. Resolves when all are ready.
 * From then on a process that dies is started again, with a line about it, until `shutdown()` or `close()`.
 *
 * All processes end with this one. Killed by SIGKILL it cannot see to that, but services notice that it is gone, and
 * the next start on the same folder stops the nats-server that was left behind.
 *
 * @throws {StartError} If a port is taken, the folder is in use, or a process does not start. Nothing runs then.
 * @throws {NatsServerError} If there is no usable nats-server.
 */
export async function startShop(options: ShopOptions): Promise<Shop> {
  const { prepare, signal } = options;
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
    if (options.servers === undefined) await startNatsServer(shop, settings);
    await prepare(shop.operator);
    await startServices(shop, settings);
  };
  try {
    await (signal === undefined ? steps() : orAborted(steps(), signal));
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
    readyWithinMs: options.readyWithinMs ?? 60_000,
  };
}

/** The shop's processes, none of them started yet. */
function assemble(settings: Settings, { release }: { release: () => void }): Shop {
  const logs = new LogFiles();
  const natsServer = createChild(natsServerProcess(settings, logs));
  const services = settings.services.map((service) => createChild(serviceProcess(service, settings, logs)));
  const own = settings.servers === undefined ? [natsServer, ...services] : services;
  const children = new Map(own.map((child) => [child.name, child]));
  const find = (name: string): Child => {
    const child = children.get(name);
    if (child === undefined) throw new RangeError(`There is no process "${name}"`);
    return child;
  };
  let stopped: Promise<void> | undefined;

  const shop: Shop = {
    natsUrl: natsUrl(settings),
    operator: operatorAccess(settings),
    dataDir: settings.dataDir,
    url: (name) => httpUrl(name, settings),
    pid: (name) => find(name).pid,
    kill: (name, signal = "SIGKILL") => find(name).kill(signal),
    ready: (name) => find(name).ready(),
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
      stopped ??= (async () => {
        await Promise.all(services.map((child) => child.stop({ graceMs })));
        // Last, since draining services commit and acknowledge what they have in hand.
        await natsServer.stop({ graceMs });
        shop.close();
      })();
      return stopped;
    },
    close() {
      stopped ??= Promise.resolve();
      for (const child of children.values()) child.close();
      logs[Symbol.dispose]();
      release();
      process.off("exit", shop.close);
    },
    [Symbol.asyncDispose]: () => shop.shutdown(),
  };
  // Whatever ends this process, short of SIGKILL, takes the others with it.
  process.on("exit", shop.close);
  return shop;
}

async function startNatsServer(shop: Shop, settings: Settings): Promise<void> {
  writeNatsFiles(settings, { credentials: credentialsFolder(settings.dataDir) });
  try {
    await shop.start(natsServerName);
  } catch (cause) {
    if (!(cause instanceof StartError)) throw cause;
    // Its reasons are in its log and not on the terminal.
    const { log } = natsServerFiles(settings);
    const tail = readFileSync(log, "utf8").trimEnd().split("\n").slice(-logTailLines);
    throw new StartError(`${cause.message}; the end of ${log}:\n  ${tail.join("\n  ")}`, { cause });
  }
  settings.report(`nats-server ${settings.natsServer.version} is ready on ${shop.natsUrl}`);
}

async function startServices(shop: Shop, { services, report }: Settings): Promise<void> {
  const waiting = new Set(services.map(({ name }) => name));
  const list = () => [...waiting].join(", ");
  report(`starting ${list()}`);
  const reminder = setInterval(() => report(`still waiting for ${list()}`), stillWaitingEveryMs);
  try {
    await Promise.all(services.map(({ name }) => shop.start(name).then(() => waiting.delete(name))));
  } finally {
    clearInterval(reminder);
  }
}
