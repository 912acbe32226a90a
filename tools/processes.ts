import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join, relative } from "node:path";
import {
  type Access,
  makeFolder,
  NATS_PORT,
  OPERATOR,
  seedFile,
  servicesOf,
  topology,
  writeCredentials,
} from "../nats/mod.ts";
import { environmentFor, nodeArguments, type Service } from "../services/mod.ts";
import type { ChildOptions } from "./child.ts";
import { type NatsServer, projectFolder } from "./nats_server.mjs";
import { loopback, type PortUse } from "./ports.ts";
import { askReadiness } from "./readiness.ts";
import { lackOfRoom } from "./room.ts";

/** What nats-server is called in messages and wherever a process is named. */
export const natsServerName = "nats-server";

/** A shop's options with their defaults, and what was found out about the machine. */
export interface Settings {
  /** Absolute, without symbolic links. */
  readonly dataDir: string;
  readonly root: string;
  readonly services: readonly Service[];
  /** By variable; has one for each of `portUses()`. */
  readonly ports: Readonly<Record<string, number>>;
  readonly operatorToken: string;
  readonly maxFileStore: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly environmentOf: (service: string) => Readonly<Record<string, string>>;
  /** Undefined if the shop runs its own. */
  readonly servers: string | undefined;
  /** Folder of nkey seeds; undefined if the servers let anybody in. */
  readonly credentials: string | undefined;
  readonly logs: "inherit" | { readonly file: string };
  readonly report: (line: string) => void;
  readonly natsServer: NatsServer;
  readonly readyWithinMs: number | undefined;
}

/** Ports of nats-server and of `services`, with the numbers that hold unless somebody sets the variable. */
export function portUses(services: readonly Service[]): PortUse[] {
  return [
    { name: natsServerName, port: NATS_PORT.standard, variable: NATS_PORT.variable },
    { name: natsServerName, port: 8222, variable: "NATS_MONITOR_PORT" },
    ...services.map(({ name, port, portVariable }) => ({ name, port, variable: portVariable })),
  ];
}

export function natsUrl(settings: Settings): string {
  return settings.servers ?? `nats://${loopback}:${settings.ports.NATS_PORT}`;
}

/** Base URL of a service's HTTP interface, or of nats-server's monitoring. @throws {RangeError} On any other name. */
export function httpUrl(name: string, { services, ports }: Settings): string {
  const service = services.find((other) => other.name === name);
  if (service === undefined && name !== natsServerName) throw new RangeError(`There is no process "${name}"`);
  return `http://${loopback}:${ports[service?.portVariable ?? "NATS_MONITOR_PORT"]}`;
}

export function natsServerFiles({ dataDir }: Pick<Settings, "dataDir">) {
  return {
    config: join(dataDir, "nats-server.conf"),
    pid: join(dataDir, "nats-server.pid"),
    log: join(dataDir, "nats-server.log"),
    store: join(dataDir, "nats"),
    /** Of the store's disk, and empty: what may be read by those who watch how full the disk is. */
    disk: join(dataDir, "nats", "disk"),
  };
}

/** The servers as whoever prepares and mends them talks to them. */
export function operatorAccess(settings: Settings): Access {
  const { credentials } = settings;
  return { servers: natsUrl(settings), nkeyFile: credentials && seedFile(credentials, OPERATOR) };
}

/** Makes the credentials that are missing, and the configuration of the shop's own server: the project's, and who may do what. */
export function writeNatsFiles(settings: Settings, { credentials }: { credentials: string }): void {
  const { dataDir, services } = settings;
  const names = new Set([...servicesOf(topology), ...services.map(({ name }) => name)]);
  const { authorization } = writeCredentials(credentials, { services: [...names] });
  const includes = [join(projectFolder, "nats", "server.conf"), authorization].map((path) => {
    // The server takes every path as relative to the file that names it, those that begin with a slash too.
    return `include ${JSON.stringify(relative(dataDir, path).replaceAll("\\", "/"))}\n`;
  });
  writeFileSync(natsServerFiles(settings).config, includes.join(""));
}

/** How nats-server runs. Its log has a file of its own and is rotated: in the terminal it would bury the services'. */
export function natsServerProcess(settings: Settings, logs: LogFiles): ChildOptions {
  const { ports } = settings;
  const files = natsServerFiles(settings);
  const log = logs.open(files.log);
  mkdirSync(files.store, { recursive: true });
  return {
    ...common(settings),
    name: natsServerName,
    command: settings.natsServer.path,
    // The next start recognises a server that was left behind by the path of its pid file in its command line.
    args: ["--config", files.config, "--pid", files.pid],
    env: {
      // Go collects its garbage when the heap has doubled, unless told otherwise: a small heap that is collected all the
      // time is a tenth of the server's work.
      GOGC: "300",
      // A large one is collected earlier, before it takes the memory that files are cached in.
      GOMEMLIMIT: `${Math.floor(totalmem() / 4 / 2 ** 20)}MiB`,
      ...settings.environment,
      NATS_HOST: loopback,
      NATS_PORT: `${ports.NATS_PORT}`,
      NATS_MONITOR_PORT: `${ports.NATS_MONITOR_PORT}`,
      // The server parses these as it parses its file, where a path with a space or a # wants quotes.
      NATS_STORE_DIR: JSON.stringify(files.store),
      NATS_LOG_FILE: JSON.stringify(files.log),
      NATS_MAX_FILE_STORE: settings.maxFileStore,
    },
    hindrance: () => lackOfRoom(files.store),
    // What it says before it has opened its log.
    stdio: ["ignore", log, log],
    // The monitoring listens before streams are recovered and clients are let in; this waits for both.
    waitsFor: () => askReadiness(`${httpUrl(natsServerName, settings)}/healthz`),
  };
}

/** How a service runs: under the permission model, with a channel by which it notices that this process is gone. */
export function serviceProcess(service: Service, settings: Settings, logs: LogFiles): ChildOptions {
  const { root, dataDir } = settings;
  // Permissions for a folder cover what is in it only if it exists when the process starts.
  for (const folder of service.writes) makeFolder(join(dataDir, folder));
  const compiled = settings.environment.NODE_COMPILE_CACHE || join(dataDir, "compiled");
  const compileCache = join(compiled, service.name);
  makeFolder(compileCache);
  // Of all credentials a service is told of its own, and can read no other.
  const credential = settings.credentials && seedFile(settings.credentials, service.name);
  const disk =
    settings.servers === undefined && service.watchesDisk === true
      ? natsServerFiles(settings).disk
      : undefined;
  if (disk !== undefined) makeFolder(disk);
  const output = settings.logs === "inherit" ? "inherit" : logs.open(settings.logs.file);
  const ports = Object.entries(settings.ports).map(([variable, port]) => [variable, `${port}`]);
  return {
    ...common(settings),
    name: service.name,
    command: process.execPath,
    args: nodeArguments(service, {
      root,
      dataDir,
      reads: [credential, disk].filter((path) => path !== undefined),
      compileCache,
    }),
    env: {
      ...environmentFor(service, settings.environment),
      NODE_COMPILE_CACHE: compileCache,
      ...Object.fromEntries(ports),
      NATS_URL: natsUrl(settings),
      NATS_NKEY_FILE: credential,
      ...(settings.servers === undefined && { NATS_MONITOR_URL: httpUrl(natsServerName, settings) }),
      HOST: loopback,
      OPERATOR_TOKEN: settings.operatorToken,
      DATA_DIR: dataDir,
      SANDBOX: "true",
      ...(disk !== undefined && { STORE_DISK: disk }),
      ...settings.environmentOf(service.name),
    },
    stdio: ["ignore", output, output, "ipc"],
    niceness: service.niceness,
    waitsFor: () => askReadiness(`${httpUrl(service.name, settings)}/readyz`),
  };
}

function common({ report, readyWithinMs }: Settings) {
  return { report, readyWithinMs };
}

/** Log files that stay open as long as processes may be started that write to them. */
export class LogFiles implements Disposable {
  readonly #open = new Map<string, number>();

  open(path: string): number {
    const file = this.#open.get(path) ?? openSync(path, "a");
    this.#open.set(path, file);
    return file;
  }

  [Symbol.dispose](): void {
    for (const file of this.#open.values()) closeSync(file);
    this.#open.clear();
  }
}
