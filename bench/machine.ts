import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { findNatsServer, projectFolder } from "../tools/nats_server.mjs";

/** What figures depend on besides the program: by name, for people. */
export type Facts = Readonly<Record<string, string>>;

/** @param folder Where the measured systems keep their state. */
export function machineFacts(folder: string): Facts {
  const processors = cpus();
  const { kind, device } = fileSystemOf(folder);
  const where =
    kind === "tmpfs" ? "tmpfs: memory, where a sync costs nothing" : `${kind} on ${device}, a disk`;
  return {
    CPU: processors[0]?.model.trim() ?? "unknown",
    cores: `${processors.length}`,
    memory: `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    "file system of the stores": where,
    kernel: `${type()} ${release()}`,
    // Whoever reads the figures can tell whether something else was running.
    "load average before": (loadavg()[0] ?? 0).toFixed(1),
  };
}

/** Versions of what every benchmark uses; a target tells its own. */
export function versionFacts(): Facts {
  const packages = ["hono", "@hono/node-server", "@nats-io/transport-node", "@nats-io/jetstream"];
  return {
    "this project": commit(),
    node: process.version,
    "nats-server": findNatsServer().version,
    ...Object.fromEntries(
      [...packages, "@bufbuild/protobuf", "undici"].map((name) => [name, packageVersion(name)]),
    ),
  };
}

function packageVersion(name: string): string {
  const text = readFileSync(join(projectFolder, "node_modules", name, "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** The commit that runs, and whether something was changed since. */
function commit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, {
      cwd: projectFolder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    // The report is written by this very program.
    const changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs") !== "";
    return `${git("rev-parse", "--short", "HEAD")}${changed ? " with changes" : ""}`;
  } catch {
    return "not in a repository";
  }
}

/** The mount that `folder` is on. "unknown" where the system has no `/proc/self/mounts`. */
function fileSystemOf(folder: string): { kind: string; device: string } {
  const unknown = { kind: "unknown", device: "unknown" };
  let text: string;
  try {
    text = readFileSync("/proc/self/mounts", "utf8");
  } catch {
    return unknown;
  }
  const mounts = text
    .trimEnd()
    .split("\n")
    .map((line) => line.split(" ") as [device: string, point: string, kind: string]);
  const above = mounts.filter(([, point]) => `${folder}/`.startsWith(point === "/" ? "/" : `${point}/`));
  // Of nested mounts the innermost counts, and of several on one point the last one.
  const found = above.reduce<(typeof above)[number] | undefined>(
    (best, mount) => (best === undefined || mount[1].length >= best[1].length ? mount : best),
    undefined,
  );
  return found === undefined ? unknown : { kind: found[2], device: found[0] };
}
