import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { loopback } from "../../../tools/ports.ts";
import { StartError } from "../../../tools/start_error.ts";
import type { Peer } from "../peer.ts";

const run = promisify(execFile);

export interface Postgres {
  readonly version: string;
  /** For a database that exists already or that whoever connects will make. */
  url(database: string): string;
}

export interface PostgresOptions {
  readonly dataDir: string;
  readonly port: number;
}

const programs = ["initdb", "postgres", "pg_isready"] as const;

/** Where Debian's packages keep the programs of each version, none of them on the PATH. */
const debianFolder = "/usr/lib/postgresql";

/** PostgreSQL refuses to run as root; Debian's package makes this user. */
const serverUser = "postgres";

/**
 * A PostgreSQL server of its own as `initdb` sets one up: every commit is synced to the disk. Only its address and
 * port are set, and a password.
 *
 * @throws {StartError} If PostgreSQL is not installed, or does not start.
 */
export async function startPostgres(peer: Peer, { dataDir, port }: PostgresOptions): Promise<Postgres> {
  const bin = findPrograms();
  const folder = join(dataDir, "postgres");
  const store = join(folder, "data");
  const passwordFile = join(folder, "password");
  const password = randomBytes(16).toString("hex");
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const as = await unprivileged({ folder, files: [folder, passwordFile] });
  const [command, ...args] = [...as, join(bin, "initdb"), "--pgdata", store, "--username", serverUser];
  await run(command as string, [...args, "--auth", "scram-sha-256", "--pwfile", passwordFile], { cwd: "/" });

  const options = { listen_addresses: loopback, port: `${port}`, unix_socket_directories: "" };
  const settings = Object.entries(options).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [program, ...before] = [...as, join(bin, "postgres"), "-D", store];
  await peer.start({
    name: "postgres",
    command: program as string,
    args: [...before, ...settings],
    // "Fast" and "immediate" shutdown: a server that is killed leaves its shared memory to the system.
    ends: { orderly: "SIGINT", atOnce: "SIGQUIT" },
    isReady: async () => {
      const args = ["--host", loopback, "--port", `${port}`];
      return await run(join(bin, "pg_isready"), args).then(
        () => true,
        () => false,
      );
    },
  });
  const { stdout } = await run(join(bin, "postgres"), ["--version"]);
  return {
    version: /\d[\d.]*/.exec(stdout)?.[0] ?? "unknown",
    url: (database) => `postgresql://${serverUser}:${password}@${loopback}:${port}/${database}`,
  };
}

/** The folder of the server's programs: one on the PATH that has all of them, else Debian's newest. */
function findPrograms(): string {
  const versions = existsSync(debianFolder) ? readdirSync(debianFolder) : [];
  const newestFirst = versions
    .sort((a, b) => Number(b) - Number(a))
    .map((one) => join(debianFolder, one, "bin"));
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...newestFirst];
  const found = folders.find((folder) => programs.every((name) => existsSync(join(folder, name))));
  if (found !== undefined) return found;
  throw new StartError(
    "Cannot start dbos: there is no PostgreSQL server; install it (Debian: apt-get install postgresql) or put the folder of its programs on the PATH",
  );
}

/** What stands before a command so that it runs as somebody else than root and owns `files`: nothing, unless root asks. */
async function unprivileged(options: { folder: string; files: readonly string[] }): Promise<string[]> {
  if (process.getuid?.() !== 0) return [];
  const id = async (flag: string) => Number((await run("id", [flag, serverUser])).stdout);
  const [uid, gid] = [await id("-u"), await id("-g")];
  for (const file of options.files) chownSync(file, uid, gid);
  // It has to get there: the benchmark's own folders let nobody but their owner pass.
  const above = dirname(options.folder);
  for (const folder of [above, dirname(above)]) chmodSync(folder, statSync(folder).mode | 0o011);
  return ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
}
