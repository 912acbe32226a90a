import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Access } from "./access.ts";
import { seedFile } from "./credential_files.ts";
import { OPERATOR } from "./credentials.ts";
import { NATS_PORT, readPort } from "./port_base.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** How to reach a shop that runs on this machine, as the one who runs it has written it down. */
export interface RunningShop {
  /** Of the process that runs it. */
  readonly pid: number;
  readonly natsUrl: string;
  /** The operator's seed; undefined where the servers let anybody in. */
  readonly nkeyFile?: string | undefined;
  readonly operatorToken: string;
  /** Base URL of each service, by its name. */
  readonly urls: Readonly<Record<string, string>>;
}

/** A shop to talk to, and how it was found. */
export interface FoundShop extends Access {
  /** Undefined where none runs, or where the environment names servers of its own. */
  readonly running: RunningShop | undefined;
  /** Why these servers and no others, for a person who cannot reach them. */
  readonly how: string;
}

/** A variable is missing or wrong, or what a shop has written down cannot be read; the message says which. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

const DEFAULT_DATA_DIR = ".data";

/** Where paths in variables begin. */
const root = resolve(import.meta.dirname, "..");

function runningFile(dataDir: string): string {
  return join(dataDir, "running.json");
}

/** Writes down how to reach the shop of `dataDir`, for its owner's eyes only. Disposing of it removes that. */
export function announceShop(dataDir: string, shop: RunningShop): Disposable {
  const file = runningFile(dataDir);
  const draft = `${file}.${shop.pid}`;
  writeFileSync(draft, `${JSON.stringify(shop, null, 2)}\n`, { mode: 0o600 });
  // Whole or not at all: others read it at any time.
  renameSync(draft, file);
  return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
}

/**
 * The shop of `dataDir`; undefined if none is announced. One whose supervisor was killed still is: its nats-server runs on.
 *
 * @throws {ConfigError} If what is there cannot be read.
 */
export function readRunningShop(dataDir: string): RunningShop | undefined {
  const file = runningFile(dataDir);
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, "utf8")) as RunningShop;
  } catch (cause) {
    const { message } = cause as Error;
    throw new ConfigError(`Cannot read ${file}: ${message}; start the shop again`, { cause });
  }
}

/** The folder of the embedded run's state, absolute: `DATA_DIR`, below the project's folder unless it is absolute. */
export function dataDirOf(environment: Environment): string {
  return resolve(root, environment.DATA_DIR || DEFAULT_DATA_DIR);
}

/**
 * The servers to talk to, and the operator's credential: what the environment names (`NATS_URL`, `NATS_NKEY_FILE`, and for
 * the port alone `NATS_PORT` or `PORT_BASE`), else the shop that runs on `DATA_DIR`, else the standard port.
 *
 * @throws {ConfigError} If a port makes no sense.
 */
export function findShop(environment: Environment): FoundShop {
  const dataDir = dataDirOf(environment);
  const { NATS_TLS_CA: ca, NATS_TLS_CERT: cert, NATS_TLS_KEY: key } = environment;
  const own = seedFile(join(dataDir, "credentials"), OPERATOR);
  const access = {
    nkeyFile: environment.NATS_NKEY_FILE || (existsSync(own) ? own : undefined),
    tls: { ca: ca || undefined, cert: cert || undefined, key: key || undefined },
  };
  if (environment.NATS_URL) {
    return { ...access, servers: environment.NATS_URL, running: undefined, how: "NATS_URL says so" };
  }
  const local = `nats://127.0.0.1:${readLocalPort(environment, NATS_PORT)}`;
  const variable = [NATS_PORT.variable, "PORT_BASE"].find((name) => environment[name]);
  if (variable !== undefined) {
    return { ...access, servers: local, running: undefined, how: `${variable} says so` };
  }
  const running = readRunningShop(dataDir);
  if (running === undefined) {
    const how = `NATS_URL is not set, and no shop runs on ${dataDir}: npm start starts one there, DATA_DIR names another folder`;
    return { ...access, servers: local, running, how };
  }
  const nkeyFile = environment.NATS_NKEY_FILE || running.nkeyFile;
  const how = `${runningFile(dataDir)} says so, which process ${running.pid} has written${isAlive(running.pid) ? "" : " that is gone"}`;
  return { ...access, nkeyFile, servers: running.natsUrl, running, how };
}

/** {@linkcode readPort}. @throws {ConfigError} If a variable makes no sense. */
export function readLocalPort(...asked: Parameters<typeof readPort>): number {
  try {
    return readPort(...asked);
  } catch (cause) {
    throw new ConfigError(`Cannot find the shop: ${(cause as RangeError).message}`, { cause });
  }
}

/** Whether there is a process of that id. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
}
