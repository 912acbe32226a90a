import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fetchDebianPackage } from "./fetch_debian.mjs";
import { fetchRelease } from "./fetch_release.mjs";
import { takeTurn } from "./install_packages.ts";
import { projectFolder } from "./nats_server.mjs";
import { StartError } from "./start_error.ts";

/** Of the releases' page, where neither PATH nor Debian has one. The server of compose.yaml is of the same line. */
const RELEASE = "3.5.0";
const RELEASES = "https://github.com/prometheus/prometheus/releases/download";
const cachedPath = join(projectFolder, ".cache", "promtool", "promtool");
const VERSION_TIMEOUT_MS = 10_000;

/**
 * The path of a promtool, which checks and tests alerting rules: PROMTOOL, or the one on PATH, or the one in `.cache/`, which
 * is fetched there if need be: Debian's package by apt, else the official release. Nothing is installed.
 *
 * @throws {StartError} If there is none to be had; says why, and how to get one.
 */
export async function obtainPromtool(environment = process.env): Promise<string> {
  const { PROMTOOL: named, PATH = "" } = environment;
  if (named) {
    if (!runs(named)) throw new StartError(`Cannot use PROMTOOL: ${named} is no promtool that runs here`);
    return named;
  }
  const candidates = PATH.split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, "promtool"));
  const found = [...candidates, cachedPath].find((path) => existsSync(path) && runs(path));
  if (found !== undefined) return found;
  await using _ = await takeTurn("fetch-promtool");
  if (!existsSync(cachedPath)) await fetchPromtool();
  return cachedPath;
}

async function fetchPromtool(): Promise<void> {
  mkdirSync(dirname(cachedPath), { recursive: true });
  process.stderr.write("Fetching promtool into .cache/, once\n");
  const reasons: string[] = [];
  const ways: [name: string, fetchInto: (folder: string) => string | Promise<string>][] = [
    // The release has 110 MB, the package 20.
    [
      "Debian package",
      (folder) =>
        fetchDebianPackage(folder, { name: "prometheus", binary: "usr/bin/promtool", suite: "installed" }),
    ],
    [
      "release archive",
      (folder) =>
        fetchRelease(folder, RELEASE, {
          base: RELEASES,
          nameFor: (platform) => `prometheus-${RELEASE}.${platform}`,
          sumsFile: "sha256sums.txt",
          binary: "promtool",
        }),
    ],
  ];
  for (const [name, fetchInto] of ways) {
    const folder = mkdtempSync(join(dirname(cachedPath), "fetch-"));
    try {
      const path = await fetchInto(folder);
      if (!runs(path)) throw new Error("its promtool does not run here");
      renameSync(path, cachedPath);
      return;
    } catch (cause) {
      reasons.push(`${name}: ${cause instanceof Error ? cause.message : cause}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  throw new StartError(
    `Cannot fetch promtool (${reasons.join("; ")}): install Prometheus (apt install prometheus, brew install prometheus), ` +
      "or set PROMTOOL to the path of its promtool",
  );
}

function runs(path: string): boolean {
  const run = spawnSync(path, ["--version"], { encoding: "utf8", timeout: VERSION_TIMEOUT_MS });
  return run.status === 0 && /^promtool, version /m.test(run.stdout + run.stderr);
}
