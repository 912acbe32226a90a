// What `npm start` and `npm test` need and a fresh machine lacks: the npm packages, the pinned Node among them, and
// nats-server. Any Node >= 18 runs this, before anything is installed; so it has no dependencies and no types.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fetchDebianPackage } from "./fetch_debian.mjs";
import { fetchRelease } from "./fetch_release.mjs";
import {
  cachedPath,
  installAdvice,
  isNewEnough,
  lookForNatsServer,
  minimumVersion,
  NatsServerError,
  projectFolder,
  releaseVersion,
  versionOf,
} from "./nats_server.mjs";

const help = `Usage: node tools/setup.mjs

Gets the project ready to run; npm start and npm test call it first. Where all is there it does nothing, quickly and
without a network. Otherwise:
  1. npm ci, when node_modules/ is missing or package-lock.json has changed,
  2. the Node that package.json pins, as node_modules/.bin/node,
  3. nats-server >= ${minimumVersion}: from NATS_SERVER, PATH or .cache/, else fetched into .cache/ from its release
     page, or where that is out of reach and this is Debian, by apt from the testing suite.
Nothing is installed system-wide.

Variables:
  NATS_SERVER  path of the nats-server to use`;

const modules = join(projectFolder, "node_modules");
const pinnedNode = join(modules, ".bin", process.platform === "win32" ? "node.cmd" : "node");

/** What went wrong is outside of this program, and its message is all that a person needs. */
class SetupError extends Error {}

function say(line) {
  console.error(`setup: ${line}`);
}

function installPackages() {
  const lock = readFileSync(join(projectFolder, "package-lock.json"), "utf8");
  const hash = createHash("sha256").update(lock).digest("hex");
  const stamp = join(modules, ".package-lock.sha256");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === hash) return;
  if (!isInstalled(JSON.parse(lock))) {
    say("installing the npm packages (npm ci)");
    const status = npm("ci", "--include=dev", "--loglevel=error", "--no-audit", "--no-fund");
    if (status !== 0) throw new SetupError(`npm ci failed (${status}); what it says is above`);
  }
  writeFileSync(stamp, hash);
}

/** Whether npm's own record of what it installed agrees with `lock`: then somebody else has run npm here. */
function isInstalled(lock) {
  const record = join(modules, ".package-lock.json");
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, "utf8")).packages;
  return Object.entries(lock.packages).every(
    ([path, wanted]) =>
      path === "" || (installed[path]?.version ?? (wanted.optional && wanted.version)) === wanted.version,
  );
}

/** The Node that runs npm must not be the one that npm is about to replace. */
function npm(...args) {
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== dirname(pinnedNode));
  const run = spawnSync("npm", args, {
    cwd: projectFolder,
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, PATH: path.join(delimiter) },
    shell: process.platform === "win32",
  });
  if (run.error) throw new SetupError(`cannot run npm: ${run.error.message}`);
  return run.status ?? run.signal;
}

function checkNode() {
  const pinned = JSON.parse(readFileSync(join(projectFolder, "package.json"), "utf8")).dependencies.node;
  if (nodeVersion() === pinned) return;
  // Some machines tell npm to run no install scripts, and this package is nothing but one.
  say(`installing Node ${pinned} for this project`);
  npm("rebuild", "node", "--ignore-scripts=false", "--loglevel=error");
  const version = nodeVersion();
  if (version === pinned) return;
  throw new SetupError(
    `node_modules/.bin/node is ${version ?? "missing"}, and package.json wants Node ${pinned}; ` +
      "allow the install script of the npm package `node`, then run `npm rebuild node`",
  );
}

function nodeVersion() {
  const run = spawnSync(pinnedNode, ["--version"], { encoding: "utf8", shell: process.platform === "win32" });
  return run.status === 0 ? run.stdout.trim().replace(/^v/, "") : undefined;
}

async function obtainNatsServer() {
  const { server, notes } = lookForNatsServer();
  if (notes.length > 0) say(`${notes[0]}; looking further`);
  if (server !== undefined) return;

  say(`fetching nats-server ${releaseVersion} into .cache/`);
  const reasons = [];
  for (const [name, fetchInto] of [
    ["release archive", (folder) => fetchRelease(folder, releaseVersion)],
    ["Debian package", (folder) => fetchDebianPackage(folder)],
  ]) {
    const folder = temporaryFolder();
    try {
      keep(await fetchInto(folder));
      say(`nats-server ${versionOf(cachedPath)} is in .cache/ (${name})`);
      return;
    } catch (error) {
      reasons.push(`${name}: ${error.message}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  throw new SetupError(`Cannot fetch nats-server (${reasons.join("; ")})\n${installAdvice()}`);
}

/** Beside the binary, so that renaming it into place is one step on one disk. */
function temporaryFolder() {
  const cache = dirname(cachedPath);
  mkdirSync(cache, { recursive: true });
  for (const name of readdirSync(cache)) {
    if (name.startsWith("fetch-") && !isAlive(Number(name.split("-")[1]))) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
  return mkdtempSync(join(cache, `fetch-${process.pid}-`));
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Only a binary that has shown that it runs here gets the name under which it is looked for. */
function keep(path) {
  chmodSync(path, 0o755);
  const version = versionOf(path);
  if (version === undefined) throw new Error("its binary does not run here");
  if (!isNewEnough(version)) throw new Error(`it is ${version}, and ${minimumVersion} or newer is needed`);
  renameSync(path, cachedPath);
}

async function main(args) {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(help);
    return;
  }
  try {
    installPackages();
    checkNode();
    await obtainNatsServer();
  } catch (error) {
    if (!(error instanceof SetupError) && !(error instanceof NatsServerError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}

await main(process.argv.slice(2));
