import type { Kysely } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import * as projection from "./migrations/0001_projection.ts";

/** In their order. What was released is never changed: a change is a migration of its own. */
const migrations: Record<string, (db: Kysely<unknown>, schema: string) => Promise<void>> = {
  "0001_projection": projection.up,
};

/**
 * Makes the schema and its tables what this build wants, whichever build has made them. Safe to run in several processes at
 * once: they take turns (Kysely's migrator).
 *
 * @throws {Error} If the database does not answer, or was migrated by a newer build. Nothing is left half done.
 */
export async function migrate<T>(db: Kysely<T>, { schema }: { schema: string }): Promise<void> {
  const named = Object.entries(migrations).map(([name, up]): [string, Migration] => [
    name,
    { up: (transaction) => up(transaction, schema) },
  ]);
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => Object.fromEntries(named) },
    migrationTableSchema: schema,
    migrationTableName: "migrations",
    migrationLockTableName: "migrations_lock",
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}
