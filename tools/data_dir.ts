import {
  accessSync,
  constants,
  existsSync,
  linkSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { makeFolder } from "../nats/mod.ts";
import { commandLine, startTime } from "./process_table.ts";
import { StartError } from "./start_error.ts";

export interface DataDir {
  /** Absolute, without symbolic links: Node's permission model compares paths after resolving them. */
  readonly path: string;
  /** Whether the run before this one was killed, so that processes of it may still be about. */
  readonly wasLeftBehind: boolean;
  /** Lets others use the folder. Calling it again does nothing. */
  release(): void;
}

/** Where a shop's nkey seeds are, in the folder of its state. */
export function credentialsFolder(dataDir: string): string {
  return join(dataDir, "credentials");
}

/** A server that has not ended by then hangs; what it acknowledged is on the disk. */
const natsServerGraceMs = 10_000;
const pollMs = 50;

/**
 * Makes `folder` and claims it for this process: two servers on one store would destroy it.
 *
 * @throws {StartError} If a process that is alive has claimed it, or if it cannot be written.
 */
export function claimDataDir(folder: string): DataDir {
  const path = usableFolder(folder);
  const lock = join(path, "supervisor.lock");
  const mine = JSON.stringify({ pid: process.pid, startedAt: startTime(process.pid) });

  // The lock appears with its content or not at all: another process never reads half of it.
  const draft = `${lock}.${process.pid}`;
  writeFileSync(draft, mine);
  try {
    const wasLeftBehind = existsSync(lock) && discardIfStale(lock);
    linkSync(draft, lock);
    let released = false;
    const release = () => {
      // Not twice: it may be somebody else's by then.
      if (!released) rmSync(lock, { force: true });
      released = true;
    };
    return { path, wasLeftBehind, release };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw inUse(path, readFileSync(lock, "utf8"));
  } finally {
    rmSync(draft, { force: true });
  }
}

function usableFolder(folder: string): string {
  try {
    makeFolder(folder);
    accessSync(folder, constants.W_OK);
    return realpathSync(folder);
  } catch (cause) {
    const { message } = cause as Error;
    throw new StartError(`Cannot use ${folder}: ${message}; set DATA_DIR to a folder that can be written`, {
      cause,
    });
  }
}

/** Returns true once the lock of a dead process is out of the way; leaves one of a live process where it is. */
function discardIfStale(lock: string): boolean {
  const seen = readFileSync(lock, "utf8");
  if (isAlive(seen)) return false;
  // Of several who see a stale lock, renaming tells who removes it; and who has moved a fresh one puts it back.
  const aside = `${lock}.stale.${process.pid}`;
  renameSync(lock, aside);
  const moved = readFileSync(aside, "utf8");
  if (moved !== seen) linkSync(aside, lock);
  rmSync(aside);
  return moved === seen;
}

function isAlive(lockText: string): boolean {
  try {
    const { pid, startedAt } = JSON.parse(lockText) as { pid: number; startedAt: string };
    // Process ids are used again, after a reboot all the more; with the time of start they are not.
    return startedAt !== "" && startTime(pid) === startedAt;
  } catch {
    return false;
  }
}

function inUse(path: string, lockText: string): StartError {
  const { pid } = JSON.parse(lockText) as { pid: number };
  return new StartError(
    `Cannot use ${path}: process ${pid} runs a shop on it; stop that one or set DATA_DIR`,
  );
}

/**
 * Ends the nats-server that a killed supervisor left running, if there is one. Only a process whose command line
 * names `pidFile` is taken for it.
 */
export async function stopLeftoverNatsServer(pidFile: string, options: { report: (line: string) => void }) {
  if (!existsSync(pidFile)) return;
  const pid = Number.parseInt(readFileSync(pidFile, "utf8"), 10);
  const isOurs = () => commandLine(pid).includes(pidFile);
  if (Number.isNaN(pid) || !isOurs()) return;

  options.report(`stopping the nats-server (process ${pid}) that the last run left behind`);
  process.kill(pid, "SIGTERM");
  const killAt = performance.now() + natsServerGraceMs;
  while (isOurs()) {
    if (performance.now() > killAt) process.kill(pid, "SIGKILL");
    await sleep(pollMs);
  }
}
