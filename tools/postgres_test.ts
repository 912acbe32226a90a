import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { query } from "../test/support/mod.ts";
import { freePorts, loopback } from "./ports.ts";
import { type Postgres, startPostgres } from "./postgres.ts";
import { childrenOf } from "./process_table.ts";
import { StartError } from "./start_error.ts";

/** A server that runs answers in a millisecond. */
const ANSWER_WITHIN_MS = 500;

const home = await mkdtemp(join(tmpdir(), "postgres-"));
/** Which runs at the end of each test as it did at its beginning. */
let postgres: Postgres;
beforeAll(async () => {
  postgres = await startPostgres({ dataDir: join(home, "shared"), above: [home] });
});
afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

async function connect({ url }: Postgres): Promise<Client> {
  const client = new Client({ connectionString: url() });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

test("startPostgres() has the settings of initdb, so that a commit is synced", async () => {
  const names = ["fsync", "synchronous_commit", "full_page_writes", "server_encoding", "lc_collate"];
  const rows = await query<{ name: string; setting: string }>(
    postgres.url(),
    `SELECT name, setting FROM pg_settings WHERE name IN (${names.map((name) => `'${name}'`)})`,
  );
  expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
    fsync: "on",
    synchronous_commit: "on",
    full_page_writes: "on",
    server_encoding: "UTF8",
    lc_collate: "C",
  });
  const [{ version } = { version: "" }] = await query<{ version: string }>(
    postgres.url(),
    "SELECT version()",
  );
  expect(version).toContain(`PostgreSQL ${postgres.version} `);
});

test("startPostgres() lets nobody in who has not its password", async () => {
  const wrong = postgres.url().replace(/:[^:@]+@/, ":guess@");
  await expect(query(wrong, "SELECT 1")).rejects.toThrow("password authentication failed");
});

test("startPostgres() on a folder that has a cluster keeps it, and its password", async () => {
  const [port = 0] = await freePorts(1);
  const options = { dataDir: join(home, "kept"), port };
  let url = "";
  {
    await using first = await startPostgres(options);
    url = first.url();
    await query(url, "CREATE TABLE kept AS SELECT 1 AS one");
  }
  await expect(query(url, "SELECT 1")).rejects.toThrow("ECONNREFUSED");
  await using second = await startPostgres(options);
  expect(second.url()).toBe(url);
  expect(await query(url, "SELECT one FROM kept")).toEqual([{ one: 1 }]);
});

test.each(["fast", "immediate"] as const)(
  "a server that stopped, %s, has what was committed when it starts again",
  async (mode) => {
    const open = await connect(postgres);
    await query(postgres.url(), `CREATE TABLE ${mode} AS SELECT 1 AS one`);
    const cut = new Promise<void>((resolve) => open.once("end", resolve));
    await postgres.stop({ mode });
    await cut;
    expect(postgres.pid).toBeUndefined();
    await postgres.start();
    expect(await query(postgres.url(), `SELECT one FROM ${mode}`)).toEqual([{ one: 1 }]);
  },
);

test("a paused server answers nobody, on open connections and on new ones, until it is resumed", async () => {
  const open = await connect(postgres);
  postgres.pause();
  const timeouts = { query_timeout: ANSWER_WITHIN_MS, connectionTimeoutMillis: ANSWER_WITHIN_MS };
  const late = new Client({ connectionString: postgres.url(), ...timeouts });
  await expect(late.connect()).rejects.toThrow("timeout");
  const asked = { text: "SELECT 1 AS one", ...timeouts };
  await expect(open.query(asked)).rejects.toThrow("timeout");
  postgres.resume();
  expect(await query(postgres.url(), "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  expect((await open.query("SELECT 2 AS two")).rows).toEqual([{ two: 2 }]);
  await open.end();
});

test("disposing of a paused server ends all its processes", async () => {
  const own = await startPostgres({ dataDir: join(home, "paused") });
  const pid = own.pid as number;
  const all = [pid, ...childrenOf(pid)];
  own.pause();
  await own[Symbol.asyncDispose]();
  expect(all.length).toBeGreaterThan(3);
  const alive = all.filter((one) => {
    try {
      return process.kill(one, 0);
    } catch {
      return false;
    }
  });
  expect(alive).toEqual([]);
});

test("startPostgres() says why a server does not start", async () => {
  const second = startPostgres({ dataDir: join(home, "second"), port: postgres.port });
  await expect(second).rejects.toThrow(StartError);
  await expect(second).rejects.toThrow(`could not bind IPv4 address "${loopback}"`);
  expect(await query(postgres.url(), "SELECT 1 AS one")).toEqual([{ one: 1 }]);
});

test.runIf(process.getuid?.() === 0)(
  "startPostgres() as root says which folder keeps its user out",
  async () => {
    const shut = join(home, "shut");
    const dataDir = join(shut, "data");
    await mkdir(shut, { mode: 0o700 });
    await expect(startPostgres({ dataDir })).rejects.toThrow(`who may not pass ${shut} to ${dataDir}`);
    await using opened = await startPostgres({ dataDir, above: [shut] });
    expect(await query(opened.url(), "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  },
);
