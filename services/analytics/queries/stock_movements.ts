import { type Kysely, sql } from "kysely";
import type { StockMovements } from "../api.ts";
import { toPlace } from "../cursor.ts";
import type { Tables } from "../tables.ts";
import { present } from "./present.ts";

export interface StockMovementsQuery {
  sku?: string | undefined;
  limit: number;
  cursor?: [seq: number, sku: string] | undefined;
}

/** What became of stock, newest first. */
export async function readStockMovements(
  db: Kysely<Tables>,
  { sku, limit, cursor }: StockMovementsQuery,
): Promise<StockMovements> {
  const rows = await db
    .selectFrom("stock_movements")
    .selectAll()
    .$if(sku !== undefined, (select) => select.where("sku", "=", sku ?? ""))
    .$if(cursor !== undefined, (select) => {
      const [seq, before] = cursor ?? [0, ""];
      return select.where(sql<boolean>`(seq, sku) < (${seq}::bigint, ${before})`);
    })
    .orderBy("seq", "desc")
    .orderBy("sku", "desc")
    .limit(limit + 1)
    .execute();
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    stock_movements: rows.slice(0, limit).map(({ seq: _, ...row }) => present(row)),
    ...(last && { next_cursor: toPlace(last.seq, last.sku) }),
  };
}
