import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { type Postgres, startPostgres } from "../../tools/postgres.ts";

export interface TestPostgresOptions {
  /** Prepares what each database begins with, once: migrations, say. Default: nothing, each is empty. */
  readonly prepare?: (url: string) => Promise<void>;
}

/** A real PostgreSQL of a test file's own, on a folder that goes away with it. */
export interface TestPostgres extends AsyncDisposable {
  readonly server: Postgres;
  /** The URL of a new database that no other test knows. */
  createDatabase(): Promise<string>;
}

const TEMPLATE = "prepared";
/** Nothing here has to outlive the machine, and a server that is killed loses nothing by it. */
const settings = { fsync: "off" };

/** One server for all tests of a file: it takes a second to start, and a database of it a twentieth. */
export async function startTestPostgres({ prepare }: TestPostgresOptions = {}): Promise<TestPostgres> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.adopt(await mkdtemp(join(tmpdir(), "postgres-test-")), (path) =>
    rm(path, { recursive: true, force: true }),
  );
  const server = stack.use(await startPostgres({ dataDir: folder, settings }));
  let made = 0;
  await query(server.url(), `CREATE DATABASE ${TEMPLATE}`);
  await prepare?.(server.url(TEMPLATE));
  const owned = stack.move();
  return {
    server,
    async createDatabase() {
      const name = `test_${made++}`;
      await query(server.url(), `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
      return server.url(name);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** One statement over a connection of its own. */
export async function query<Row extends object>(url: string, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  // A connection that is cut says so twice: to whoever waits for an answer, and here.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}
