// Fetches a package of Debian's with apt, without installing anything. Plain JavaScript for the same reason as
// nats_server.mjs. Types and contracts: fetch_debian.d.mts.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Stable releases carry an older nats-server; its binary needs no library but libc. */
const natsServer = { name: "nats-server", binary: "usr/sbin/nats-server", suite: "testing" };
const releaseSuites = ["stable", "oldstable", "testing", "unstable", "sid"];

/** Several sources may bear Debian's suite names, a vendor's own repository among them; one of the first has it. */
const maxSources = 4;
/** The index has about 10 MB, the packages 5 and 20 MB. */
const aptWithinMs = 300_000;

export function fetchDebianPackage(folder, wanted = natsServer) {
  return fromSources(wanted.suite, (source) => {
    const apt = openApt(source, folder);
    unpack([wanted.name], { apt, folder });
    return join(folder, "package", wanted.binary);
  });
}

export function fetchWithLibraries(folder, { name, includes, suite }) {
  return fromSources(suite, (source) => {
    const apt = openApt(source, folder);
    // Tells what would be installed, in lines like `Inst libpq5 (15.18-0+deb12u1 Debian:12.1/stable [amd64])`.
    const plan = run("apt-get", [...apt, "-s", "--no-install-recommends", "install", name], folder);
    const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, found]) => found);
    const wanted = missing.filter((found) => includes(found));
    if (wanted.length === 0) throw new Error(`apt would install nothing for ${name}`);
    unpack(wanted, { apt, folder });
    return join(folder, "package");
  });
}

/** What `fetchFrom` returns for the first source that has it. */
function fromSources(wantedSuite, fetchFrom) {
  const { ID: system, VERSION_CODENAME: codename } = readOsRelease();
  if (system !== "debian") throw new Error("this is not Debian");
  const suite = wantedSuite === "installed" ? codename : wantedSuite;
  // Debian's own testing names no release.
  const sources = debianSources(readSources(), { codename, suite: suite ?? "testing" }).slice(0, maxSources);
  if (sources.length === 0) throw new Error("apt has no source of Debian's own");

  let reason = "";
  for (const source of sources) {
    try {
      return fetchFrom(source);
    } catch (error) {
      reason ||= error.message;
    }
  }
  throw new Error(reason);
}

/** apt's options for a state of its own in `folder`, with the index of `source`. */
function openApt(source, folder) {
  const list = join(folder, "debian.sources");
  writeFileSync(list, source);
  for (const needed of ["lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(folder, needed), { recursive: true });
  }
  const options = {
    "Dir::Etc::sourcelist": list,
    "Dir::Etc::sourceparts": "/dev/null",
    // What the machine prefers or pins concerns what is installed, which this is not.
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    "APT::Default-Release": "",
    "Dir::State::lists": join(folder, "lists"),
    "Dir::Cache": join(folder, "cache"),
    "Acquire::Languages": "none",
    "Acquire::http::Timeout": "20",
    "Acquire::https::Timeout": "20",
    // apt's own user may not enter the project's folder.
    "APT::Sandbox::User": "root",
  };
  const apt = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  run("apt-get", [...apt, "-qq", "update"], folder);
  return apt;
}

function unpack(names, { apt, folder }) {
  run("apt-get", [...apt, "-qq", "download", ...names], folder);
  const files = readdirSync(folder).filter((name) => name.endsWith(".deb"));
  if (files.length === 0) throw new Error("apt-get downloaded nothing");
  for (const file of files) run("dpkg-deb", ["-x", file, "package"], folder);
}

function run(command, args, cwd) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    timeout: aptWithinMs,
    env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
  });
  if (result.error) throw new Error(`${command} does not run: ${result.error.message}`);
  if (result.status === 0) return result.stdout;
  const errors = result.stderr.split("\n").filter((line) => line.startsWith("E:"));
  throw new Error(`${command} says ${errors[0] ?? `exit code ${result.status}`}`);
}

export function debianSources(files, { codename, suite }) {
  const suites = new Set([...releaseSuites, codename]);
  return files
    .flatMap(({ name, text }) => (name.endsWith(".sources") ? stanzas(text) : text.split("\n").map(oneLine)))
    .filter((fields) => fields !== undefined)
    .filter((fields) => words(fields.types).includes("deb") && !/^(no|false|0)$/i.test(fields.enabled ?? ""))
    .filter((fields) => words(fields.suites).some((name) => suites.has(name)))
    .filter((fields) => words(fields.components).includes("main"))
    .map((fields) => ({ ...fields, types: "deb", suites: suite, components: "main" }))
    .sort((a, b) => Number(isArchive(b)) - Number(isArchive(a)))
    .map(
      (fields) =>
        `${Object.entries(fields)
          .map(([name, value]) => `${name}: ${value}\n`)
          .join("")}`,
    )
    .filter((text, i, all) => all.indexOf(text) === i);
}

/** Debian's archive and its mirrors end in /debian; other vendors' repositories rarely do. */
function isArchive(fields) {
  return words(fields.uris).some((uri) => /\/debian\/?$/.test(uri) || uri.startsWith("mirror"));
}

function words(value = "") {
  return value.split(/\s+/).filter(Boolean);
}

/** Fields by lower-case name (apt does not mind); a value's continuation lines stay as they are. */
function stanzas(text) {
  const withoutComments = text.split("\n").filter((line) => !line.startsWith("#"));
  return withoutComments
    .join("\n")
    .split(/\n\s*\n/)
    .map((stanza) => {
      const fields = {};
      for (const [, name, value] of stanza.matchAll(/^([^\s:]+):[ \t]*((?:.*)(?:\n[ \t].*)*)/gm)) {
        fields[name.toLowerCase()] = value;
      }
      return fields;
    });
}

/** `deb [arch=amd64 signed-by=/key] https://mirror/debian bookworm main contrib` */
function oneLine(line) {
  const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
  if (!match) return undefined;
  const [, options = "", uris, suites, components] = match;
  const fields = { types: "deb", uris, suites, components: components.trim() };
  for (const option of words(options)) {
    const [name, value] = option.split("=");
    fields[{ arch: "architectures" }[name] ?? name] = value?.replaceAll(",", " ");
  }
  return fields;
}

function readSources() {
  const parts = "/etc/apt/sources.list.d";
  const names = existsSync(parts) ? readdirSync(parts).filter((name) => /\.(sources|list)$/.test(name)) : [];
  return ["/etc/apt/sources.list", ...names.map((name) => join(parts, name))]
    .filter((name) => existsSync(name))
    .map((name) => ({ name, text: readFileSync(name, "utf8") }));
}

function readOsRelease() {
  if (!existsSync("/etc/os-release")) return {};
  const lines = readFileSync("/etc/os-release", "utf8").matchAll(/^(\w+)="?([^"\n]*)"?$/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
}
