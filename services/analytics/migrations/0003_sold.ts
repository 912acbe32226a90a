import { type Kysely, sql } from "kysely";

/** What was sold was in `reserved` before; the next version of an item has both. */
export async function up(db: Kysely<unknown>, schema: string): Promise<void> {
  await sql`ALTER TABLE ${sql.id(schema)}.stock ADD COLUMN sold bigint NOT NULL DEFAULT 0`.execute(db);
}
