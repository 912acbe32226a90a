import { type Kysely, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import type { Database } from "./database.ts";
import * as projection from "./migrations/0001_projection.ts";
import * as storedAt from "./migrations/0002_stored_at.ts";
import * as sold from "./migrations/0003_sold.ts";

const TABLE = "migrations";

/** In their order. What was released is never changed: a change is a migration of its own. */
const migrations: Record<string, (db: Kysely<unknown>, schema: string) => Promise<void>> = {
  "0001_projection": projection.up,
  "0002_stored_at": storedAt.up,
  "0003_sold": sold.up,
};

/**
 * Makes the schema and its tables what this build wants, whichever build has made them. Safe to run in several processes at
 * once: they take turns (Kysely's migrator).
 *
 * @throws {Error} If the database does not answer, was migrated by a newer build, or is another process's to write to. Nothing
 * is left half done.
 */
export async function migrate<T>(
  database: Pick<Database<T>, "writer" | "assertWriter">,
  { schema }: { schema: string },
): Promise<void> {
  const db = database.writer;
  if (await isMigrated(db, schema)) return;
  const named = Object.entries(migrations).map(([name, up]): [string, Migration] => [
    name,
    {
      async up(transaction) {
        await database.assertWriter(transaction);
        await up(transaction, schema);
      },
    },
  ]);
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => Object.fromEntries(named) },
    migrationTableSchema: schema,
    migrationTableName: TABLE,
    migrationLockTableName: "migrations_lock",
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}

/** Whether nothing is left to do, as at nearly every start. The migrator looks through all tables before it can tell. */
async function isMigrated<T>(db: Kysely<T>, schema: string): Promise<boolean> {
  const table = `${schema}.${TABLE}`;
  const known = await sql<{ oid: unknown }>`SELECT to_regclass(${table}) AS oid`.execute(db);
  if (known.rows[0]?.oid == null) return false;
  const { rows } = await sql<{ name: string }>`SELECT name FROM ${sql.table(table)} ORDER BY name`.execute(
    db,
  );
  return rows.map(({ name }) => name).join() === Object.keys(migrations).join();
}
