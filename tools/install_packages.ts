import { execFile } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { basename, join, relative, sep } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { projectFolder } from "./nats_server.mjs";
import { StartError } from "./start_error.ts";

/** The largest of them is 240 MB. */
const INSTALL_WITHIN_MS = 600_000;
const ASK_AGAIN_MS = 100;
/** SQLITE_BUSY, as its error has it. */
const BUSY = 5;

/**
 * Installs packages that only some who work here need, and that are in a folder of their own for it: as its lock file has
 * them, unless that was done since it last changed. Whoever comes meanwhile, from whichever process, waits.
 *
 * @param folder Has a `package.json` and a `package-lock.json`.
 * @throws {StartError} If the registry cannot be reached or the lock does not fit; says what to run.
 */
export async function installPackages(folder: string): Promise<void> {
  if (isInstalled(folder)) return;
  const path = relative(projectFolder, folder).split(sep);
  await using _ = await takeTurn(`install-${path.join("-")}`);
  if (isInstalled(folder)) return;
  const name = basename(folder);
  const command = `npm ci --ignore-scripts --prefix ${path.join("/")}`;
  process.stderr.write(`Installing the packages of ${name}, once: ${command}\n`);
  try {
    // No package here needs its install script; some would report the machine to their maker.
    await promisify(execFile)("npm", ["ci", "--ignore-scripts"], { cwd: folder, timeout: INSTALL_WITHIN_MS });
  } catch (cause) {
    throw new StartError(
      `Cannot install ${name}: npm ci failed; see that the npm registry can be reached and run "${command}"`,
      { cause },
    );
  }
}

function isInstalled(folder: string): boolean {
  // What npm writes last when it has installed.
  const done = join(folder, "node_modules", ".package-lock.json");
  return existsSync(done) && statSync(done).mtimeMs >= statSync(join(folder, "package-lock.json")).mtimeMs;
}

/** One process at a time, in the way that a database has it: the system takes the lock back from one that was killed. */
export async function takeTurn(name: string): Promise<AsyncDisposable> {
  const cache = join(projectFolder, ".cache");
  mkdirSync(cache, { recursive: true });
  const path = join(cache, `${name}.lock`);
  const lock = new DatabaseSync(path, { timeout: 0 });
  const deadline = performance.now() + INSTALL_WITHIN_MS;
  while (!begin(lock)) {
    if (performance.now() > deadline) {
      throw new StartError(`Cannot install: another process has held ${path} for too long`);
    }
    await sleep(ASK_AGAIN_MS);
  }
  return { [Symbol.asyncDispose]: async () => lock.close() };
}

function begin(lock: DatabaseSync): boolean {
  try {
    lock.exec("BEGIN EXCLUSIVE");
    return true;
  } catch (cause) {
    if (!(cause instanceof Error && "errcode" in cause && cause.errcode === BUSY)) throw cause;
    return false;
  }
}
