import { type Kysely, sql } from "kysely";

/** By when the last message was stored that is counted, a stream that was restored from a backup is told from the one before. */
export async function up(db: Kysely<unknown>, schema: string): Promise<void> {
  await sql`ALTER TABLE ${sql.id(schema)}.positions ADD COLUMN stored_at timestamptz`.execute(db);
}
