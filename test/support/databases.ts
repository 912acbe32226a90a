import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Kysely } from "kysely";
import { type Database, openDatabase } from "../../services/analytics/database.ts";
import { LIVE } from "../../services/analytics/store.ts";
import type { Tables } from "../../services/analytics/tables.ts";
import { silent } from "./nats.ts";
import { providePGlite } from "./pglite.ts";
import { startTestPostgres } from "./postgres.ts";

/** A database of a test file's own. */
export interface TestDatabase extends AsyncDisposable {
  readonly database: Database<Tables>;
  /** What answers are read from. */
  readonly db: Kysely<Tables>;
  /** Another process's connection to it; undefined where there can be none. */
  another?(): Promise<Database<Tables>>;
  /** Nothing is in it afterwards. */
  empty(): Promise<void>;
}

/** Both databases, for `describe.each`: what holds for one has to hold for the other. */
export const databases: readonly (readonly [name: string, open: () => Promise<TestDatabase>])[] = [
  ["PGlite", openPGlite],
  ["PostgreSQL", openPostgres],
];

async function openPGlite(): Promise<TestDatabase> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.adopt(await mkdtemp(join(tmpdir(), "analytics-test-")), (path) =>
    rm(path, { recursive: true, force: true }),
  );
  await providePGlite(folder);
  const database = stack.use(await openDatabase<Tables>({ url: undefined, folder, log: silent }));
  return testDatabase(database, stack.move());
}

async function openPostgres(): Promise<TestDatabase> {
  await using stack = new AsyncDisposableStack();
  const postgres = stack.use(await startTestPostgres());
  const url = await postgres.createDatabase();
  const open = () => openDatabase<Tables>({ url, folder: "", log: silent });
  const database = stack.use(await open());
  return { ...testDatabase(database, stack.move()), another: open };
}

function testDatabase(database: Database<Tables>, owned: AsyncDisposableStack): TestDatabase {
  return {
    database,
    db: database.db.withSchema(LIVE),
    async empty() {
      for (const schema of [LIVE, `${LIVE}_next`, `${LIVE}_old`])
        await database.db.schema.dropSchema(schema).ifExists().cascade().execute();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
