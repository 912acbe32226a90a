import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts, loopback } from "./ports.ts";
import { libraryPath, obtainPostgres, type PostgresPrograms } from "./postgres_programs.ts";
import { childrenOf } from "./process_table.ts";
import { type ServerUser, serverUser } from "./server_user.ts";
import { StartError } from "./start_error.ts";

export interface PostgresOptions {
  /** The folder of this server and nothing else; made unless it exists. */
  readonly dataDir: string;
  /** Default: one that is free. */
  readonly port?: number;
  /** `postgresql.conf`, by name. Default: as `initdb` sets them, so every commit is synced to the disk. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Folders above `dataDir` that another user may be let through if the server has to run as one. Default none. */
  readonly above?: readonly string[];
  /** Default: {@link obtainPostgres}. */
  readonly programs?: PostgresPrograms;
}

/** A PostgreSQL server of its own on loopback. Disposing of it ends it; its folder stays. */
export interface Postgres extends AsyncDisposable {
  /** As in `"15.18"`. */
  readonly version: string;
  readonly port: number;
  /** Of the process that all others of it descend from; undefined while it does not run. */
  readonly pid: number | undefined;
  /** As the superuser. @param database Default `postgres`, which is always there. */
  url(database?: string): string;
  /** The same server again, on its port and folder. Does nothing while it runs. @throws {StartError} If it ends before it is ready. */
  start(): Promise<void>;
  /**
   * Ends it and every connection. `fast`, the default, rolls back, writes everything and says so to its clients;
   * `immediate` does none of it, as if it had died, and the next start recovers.
   */
  stop(options?: { mode?: "fast" | "immediate" }): Promise<void>;
  /** Nothing of it moves on: connections stay open and are not answered, new ones neither. */
  pause(): void;
  /** Undoes `pause()`. */
  resume(): void;
}

const USER = "postgres";
/** A start after a crash has its log to read first. */
const READY_WITHIN_MS = 60_000;
/** It writes what is in memory; past that it hangs. */
const END_WITHIN_MS = 15_000;
const POLL_MS = 10;
/** Of its log, in an error. */
const QUOTED_CHARS = 2_000;

/**
 * Starts the PostgreSQL server of a folder; an empty one gets a database cluster first, with the collation `C`, UTF-8 and a
 * password. Run by root it becomes another user, since PostgreSQL refuses root.
 *
 * @throws {StartError} If there is no PostgreSQL here, the folder cannot be used, or the server does not start.
 */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const obtained = options.programs ?? (await obtainPostgres());
  const user = serverUser();
  const folder = prepareFolder(options, user);
  const programs = user === undefined ? obtained : withinReach(obtained, { folder, user });
  const port = options.port ?? ((await freePorts(1))[0] as number);
  const identity = { ...user, cwd: folder, env: { ...process.env, ...libraryPath(programs) } };
  const files = { store: join(folder, "data"), log: join(folder, "postgres.log") };
  const password = await makeCluster(join(programs.bin, "initdb"), { folder, user, identity, files });

  const settings = {
    listen_addresses: loopback,
    port: `${port}`,
    unix_socket_directories: "",
    // What was unpacked is without LLVM.
    ...(programs.root !== undefined && { jit: "off" }),
    ...options.settings,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  let server: ChildProcess | undefined;
  let paused: number[] = [];

  function send(signal: NodeJS.Signals, pids: readonly number[]): void {
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch (cause) {
        // It has ended meanwhile.
        if ((cause as NodeJS.ErrnoException).code !== "ESRCH") throw cause;
      }
    }
  }
  // This process may end without disposing of anything. A server that is killed would leave its shared memory behind.
  const close = () => server?.kill("SIGQUIT");
  process.on("exit", close);

  const postgres: Postgres = {
    version: programs.version,
    port,
    get pid() {
      return server?.pid;
    },
    url: (database = "postgres") => `postgresql://${USER}:${password}@${loopback}:${port}/${database}`,
    async start() {
      if (server !== undefined) return;
      const launched = launch(join(programs.bin, "postgres"), ["-D", files.store, ...args], {
        identity,
        files,
      });
      server = launched.child;
      void launched.ended.then(() => {
        if (server === launched.child) server = undefined;
      });
      await ready(launched, files);
    },
    async stop({ mode = "fast" } = {}) {
      postgres.resume();
      const child = server;
      if (child === undefined) return;
      const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      child.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
      const late = setTimeout(() => child.kill("SIGKILL"), END_WITHIN_MS);
      await gone;
      clearTimeout(late);
      server = undefined;
    },
    pause() {
      const pid = server?.pid;
      if (pid === undefined || paused.length > 0) return;
      // The first makes no more of the others.
      send("SIGSTOP", [pid]);
      paused = [pid, ...childrenOf(pid)];
      send("SIGSTOP", paused);
    },
    resume() {
      send("SIGCONT", paused.splice(0));
    },
    async [Symbol.asyncDispose]() {
      await postgres.stop();
      process.off("exit", close);
    },
  };
  try {
    await postgres.start();
  } catch (cause) {
    await postgres.stop({ mode: "immediate" });
    process.off("exit", close);
    throw cause;
  }
  return postgres;
}

/** The folder, as the kernel names it, which belongs to who runs the server. */
function prepareFolder({ dataDir, above = [] }: PostgresOptions, user: ServerUser | undefined): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const folder = realpathSync(dataDir);
  if (user === undefined) return folder;
  chownSync(folder, user.uid, user.gid);
  for (const path of above) chmodSync(path, statSync(path).mode | 0o011);
  const shut = whereItIsShut(dirname(folder), user);
  if (shut === undefined) return folder;
  throw new StartError(
    `Cannot start PostgreSQL: run by root it becomes user ${user.uid}, who may not pass ${shut} to ${folder}; ` +
      "choose another folder for the data, or do not run this as root",
  );
}

/**
 * Programs that the server's user can get at: a project in a folder that only root may enter keeps what it has unpacked there
 * as well. Then they are copied beside the data.
 */
function withinReach(
  programs: PostgresPrograms,
  { folder, user }: { folder: string; user: ServerUser },
): PostgresPrograms {
  const { root, bin } = programs;
  if (root === undefined || whereItIsShut(root, user) === undefined) return programs;
  const copy = join(folder, "programs");
  if (!existsSync(copy)) cpSync(root, copy, { recursive: true, verbatimSymlinks: true });
  return { ...programs, root: copy, bin: join(copy, bin.slice(root.length)) };
}

/** The first folder, of `path` and all above it, that keeps the user out. */
function whereItIsShut(path: string, user: ServerUser): string | undefined {
  const { mode, uid } = statSync(path);
  if ((mode & (uid === user.uid ? 0o100 : 0o001)) === 0) return path;
  return dirname(path) === path ? undefined : whereItIsShut(dirname(path), user);
}

interface Launching {
  readonly identity: { readonly cwd: string; readonly env: NodeJS.ProcessEnv; uid?: number; gid?: number };
  readonly files: { readonly store: string; readonly log: string };
}

/** Makes the cluster unless it is there. @returns The superuser's password, which stays in the folder. */
async function makeCluster(
  initdb: string,
  { folder, user, ...launching }: Launching & { folder: string; user: ServerUser | undefined },
): Promise<string> {
  const { store } = launching.files;
  const file = join(folder, "password");
  // What initdb writes last; it removes what it could not finish.
  if (existsSync(join(store, "PG_VERSION")) && existsSync(file)) return readFileSync(file, "utf8");
  const password = randomBytes(16).toString("hex");
  writeFileSync(file, password, { mode: 0o600 });
  if (user !== undefined) chownSync(file, user.uid, user.gid);
  const cluster = ["--pgdata", store, "--username", USER, "--auth", "scram-sha-256", "--pwfile", file];
  const fixed = ["--no-locale", "--encoding", "UTF8", "--no-sync", "--no-instructions"];
  const { child, ended } = launch(initdb, [...cluster, ...fixed], launching);
  await ended;
  if (child.exitCode !== 0) throw failure(`initdb ended with ${await ended}`, launching.files.log);
  return password;
}

interface Launched {
  readonly child: ChildProcess;
  /** Resolves with how. */
  readonly ended: Promise<string>;
}

function launch(command: string, args: readonly string[], { identity, files }: Launching): Launched {
  const log = openSync(files.log, "a");
  // A group of its own: Ctrl-C in a terminal reaches this process only, which then ends the server.
  const child = spawn(command, args, { ...identity, detached: true, stdio: ["ignore", log, log] });
  closeSync(log);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  return { child, ended };
}

/** Resolves when clients are let in, which the server notes in its own pid file. */
async function ready({ child, ended }: Launched, { store, log }: Launching["files"]): Promise<void> {
  let end: string | undefined;
  void ended.then((how) => {
    end = how;
  });
  const giveUpAt = performance.now() + READY_WITHIN_MS;
  for (;;) {
    await sleep(POLL_MS);
    if (end !== undefined) throw failure(`it ended before it was ready (${end})`, log);
    const lines = readIfThere(join(store, "postmaster.pid")).split("\n");
    // The eighth is the state; the file may be one that a server left behind which died.
    if (lines[0] === `${child.pid}` && lines[7]?.trim() === "ready") return;
    if (performance.now() > giveUpAt) throw failure(`it is not ready after ${READY_WITHIN_MS / 1000} s`, log);
  }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    return "";
  }
}

function failure(what: string, log: string): StartError {
  return new StartError(
    `Cannot start PostgreSQL: ${what}\n${readIfThere(log).slice(-QUOTED_CHARS).trimEnd()}`,
  );
}
