// Finds the nats-server binary. Plain JavaScript without dependencies, since tools/setup.mjs needs it before
// anything is installed and on whatever Node >= 18 is there. Types and contracts: nats_server.d.mts.
import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Atomic batches together with schedules in them, and R3 syncing once per Raft append, are all there from here on. */
export const minimumVersion = "2.15.0";

/** The release that is fetched where none is found. */
export const releaseVersion = "2.15.1";

export const projectFolder = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Where a fetched binary is kept; git ignores it. */
export const cachedPath = join(projectFolder, ".cache", "nats-server", "nats-server");

const releasesPage = "https://github.com/nats-io/nats-server/releases";
const executableName = process.platform === "win32" ? "nats-server.exe" : "nats-server";

/** Long enough for a cold disk; a binary that hangs is no nats-server. */
const versionTimeoutMs = 10_000;

export class NatsServerError extends Error {
  name = "NatsServerError";
}

export function findNatsServer(options = {}) {
  const found = lookForNatsServer(options);
  if (found.server === undefined) {
    throw new NatsServerError(`Cannot find nats-server >= ${minimumVersion}: run \`node tools/setup.mjs\``);
  }
  return found.server;
}

export function lookForNatsServer({ env = process.env, cached = cachedPath } = {}) {
  const notes = [];
  if (env.NATS_SERVER) return { server: named(resolve(env.NATS_SERVER)), notes };

  for (const folder of (env.PATH ?? "").split(delimiter).filter(Boolean)) {
    const path = join(folder, executableName);
    if (!isExecutable(path)) continue;
    const version = versionOf(path);
    if (version !== undefined && isNewEnough(version)) return { server: { path, version }, notes };
    notes.push(
      `${path} is ${version ?? "not a working nats-server"}, and ${minimumVersion} or newer is needed`,
    );
  }

  if (isExecutable(cached)) {
    const version = versionOf(cached);
    if (version !== undefined && isNewEnough(version)) return { server: { path: cached, version }, notes };
  }
  return { server: undefined, notes };
}

/** What NATS_SERVER names is what the person wants: anything wrong with it is told, never worked around. */
function named(path) {
  if (!isExecutable(path)) {
    throw new NatsServerError(`Cannot use NATS_SERVER: ${path} is missing or is not an executable file`);
  }
  const version = versionOf(path);
  if (version === undefined)
    throw new NatsServerError(`Cannot use NATS_SERVER: ${path} is not a working nats-server`);
  if (!isNewEnough(version)) {
    throw new NatsServerError(
      `Cannot use NATS_SERVER: ${path} is ${version}; ${minimumVersion} or newer is needed`,
    );
  }
  return { path, version };
}

export function versionOf(path) {
  const run = spawnSync(path, ["--version"], { encoding: "utf8", timeout: versionTimeoutMs });
  return /^nats-server: v(\d+\.\d+\.\d+)/.exec(run.stdout ?? "")?.[1];
}

export function isNewEnough(version) {
  const [has, wants] = [version, minimumVersion].map((text) => text.split(".").map(Number));
  const different = wants.findIndex((part, i) => has[i] !== part);
  return different === -1 || has[different] > wants[different];
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

export function installAdvice() {
  const asset = `${releasesPage}/download/v${releaseVersion}/nats-server-v${releaseVersion}`;
  const arch = process.arch === "arm64" ? "arm64" : "amd64";
  const deb = `nats-server-v${releaseVersion}-${arch}.deb`;
  return [
    "Install it once, then start again:",
    "  macOS          brew install nats-server",
    `  Debian/Ubuntu  curl -fLO ${asset}-${arch}.deb && sudo dpkg -i ${deb}`,
    `  Fedora         sudo dnf install ${asset}-${arch}.rpm`,
    "  Arch           sudo pacman -S nats-server",
    "  Windows        winget install NATSAuthors.NATSServer   (or: scoop install nats-server)",
    `  anything else  download it from ${releasesPage} and set NATS_SERVER to the binary's path`,
  ].join("\n");
}
