import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fetchWithLibraries } from "./fetch_debian.mjs";
import { takeTurn } from "./install_packages.ts";
import { projectFolder } from "./nats_server.mjs";
import { StartError } from "./start_error.ts";

/** The programs of a PostgreSQL server that run on this machine. */
export interface PostgresPrograms {
  /** The folder that has `initdb` and `postgres`. */
  readonly bin: string;
  /** As in `"15.18"`. */
  readonly version: string;
  /** What stands for `/` of programs that were unpacked and not installed, with the libraries that they need. */
  readonly root?: string;
}

export interface ObtainOptions {
  /** Where POSTGRES_BIN and PATH come from. Default: `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Where Debian's packages keep each version's programs, none of them on PATH. Default: `/usr/lib/postgresql`. */
  readonly debianFolder?: string;
  /** Where fetched programs are kept. Default: a folder of `.cache/`. */
  readonly cached?: string;
}

/** Debian's since 2023; what comes with `pg_stat_io` and `MERGE` and is still maintained is no older. */
export const MINIMUM_VERSION = 15;

const names = ["initdb", "postgres"] as const;
const debianPath = join("usr", "lib", "postgresql");
const cachedPath = join(projectFolder, ".cache", "postgres", "package");
const VERSION_TIMEOUT_MS = 10_000;

/**
 * The programs of a PostgreSQL server, {@link MINIMUM_VERSION} or newer: POSTGRES_BIN, or the first on PATH, or the newest of
 * Debian's that is installed, or what is in `.cache/`, which is fetched there if need be: Debian's package, by apt. Nothing is
 * installed.
 *
 * @throws {StartError} If there are none to be had; says why, and how to get them.
 */
export async function obtainPostgres(options: ObtainOptions = {}): Promise<PostgresPrograms> {
  const { environment = process.env, debianFolder = `/${debianPath}`, cached = cachedPath } = options;
  const { POSTGRES_BIN: named, PATH = "" } = environment;
  if (named) {
    const programs = probe(named);
    if (programs !== undefined) return programs;
    throw new StartError(
      `Cannot use POSTGRES_BIN: ${named} has no initdb and postgres of version ${MINIMUM_VERSION} or newer that run here`,
    );
  }
  const installed = first([...PATH.split(delimiter).filter(Boolean), ...newestFirst(debianFolder)]);
  if (installed !== undefined) return installed;
  await using _ = await takeTurn("fetch-postgres");
  return unpacked(cached) ?? fetchPrograms(cached);
}

/** What a process needs in its environment to run the programs. */
export function libraryPath({ root }: PostgresPrograms): Record<string, string> {
  if (root === undefined) return {};
  // Debian has them in a folder named for the architecture, of /usr/lib or still of /lib.
  const folders = ["usr/lib", "lib"].flatMap((parent) =>
    list(join(root, parent))
      .filter((name) => name.endsWith("-linux-gnu") || name.includes("-linux-gnu"))
      .map((name) => join(root, parent, name)),
  );
  return { LD_LIBRARY_PATH: folders.join(delimiter) };
}

function fetchPrograms(cached: string): PostgresPrograms {
  mkdirSync(dirname(cached), { recursive: true });
  process.stderr.write("Fetching PostgreSQL into .cache/, once\n");
  const folder = mkdtempSync(join(dirname(cached), "fetch-"));
  try {
    const root = fetchWithLibraries(folder, { name: "postgresql", suite: "installed", includes });
    const programs = unpacked(root);
    if (programs === undefined) throw new Error("its programs do not run here, or are too old");
    rmSync(cached, { recursive: true, force: true });
    renameSync(root, cached);
    return unpacked(cached) as PostgresPrograms;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : `${cause}`;
    throw new StartError(`Cannot fetch PostgreSQL (Debian package: ${reason})\n${installAdvice()}`, {
      cause,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The server and shared libraries. Without LLVM, which has 100 MB and compiles queries that take seconds; what the server's
 * scripts need, in Perl, is not needed either.
 */
function includes(name: string): boolean {
  if (/^postgresql-\d+$/.test(name)) return true;
  return name.startsWith("lib") && !/^lib(llvm|z3|perl)|-perl$/.test(name);
}

function unpacked(root: string): PostgresPrograms | undefined {
  return first(newestFirst(join(root, debianPath)), root);
}

function newestFirst(debianFolder: string): string[] {
  const versions = list(debianFolder).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(debianFolder, version, "bin"));
}

function first(folders: readonly string[], root?: string): PostgresPrograms | undefined {
  for (const bin of folders) {
    const programs = probe(bin, root);
    if (programs !== undefined) return programs;
  }
  return undefined;
}

/** Undefined unless all programs are there, are new enough and have the libraries they need. */
function probe(bin: string, root?: string): PostgresPrograms | undefined {
  if (!names.every((name) => existsSync(join(bin, name)))) return undefined;
  const programs = { bin, version: "", ...(root !== undefined && { root }) };
  const env = { ...process.env, ...libraryPath(programs) };
  const versions = names.map((name) => {
    const run = spawnSync(join(bin, name), ["--version"], {
      encoding: "utf8",
      env,
      timeout: VERSION_TIMEOUT_MS,
    });
    return run.status === 0 ? /\(PostgreSQL\) (\d+[.\w]*)/.exec(run.stdout)?.[1] : undefined;
  });
  const [version] = versions;
  if (version === undefined || versions.some((other) => other !== version)) return undefined;
  return Number.parseInt(version, 10) < MINIMUM_VERSION ? undefined : { ...programs, version };
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function installAdvice(): string {
  return [
    "Install it once, then start again; no server of it needs to run:",
    "  Debian/Ubuntu  sudo apt-get install postgresql",
    "  Fedora         sudo dnf install postgresql-server",
    "  Arch           sudo pacman -S postgresql",
    '  macOS          brew install postgresql@17   (then: export POSTGRES_BIN="$(brew --prefix postgresql@17)/bin")',
    "  anything else  set POSTGRES_BIN to the folder that has initdb and postgres",
  ].join("\n");
}
