import { execFile } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { StartError } from "../../tools/start_error.ts";

/** The largest of them is 100 MB. */
const INSTALL_WITHIN_MS = 600_000;

/**
 * Installs the packages of `bench/peers/<name>` as its lock file has them, unless that was done since it last changed.
 *
 * @throws {StartError} If the registry cannot be reached or the lock does not fit; says what to run.
 */
export async function installPeer(name: string): Promise<void> {
  const folder = join(import.meta.dirname, name);
  if (isInstalled(folder)) return;
  const command = `npm ci --prefix bench/peers/${name}`;
  process.stderr.write(`Installing the packages of ${name}, once: ${command}\n`);
  try {
    // No package here needs its install script; one of them would report the machine to its maker.
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
