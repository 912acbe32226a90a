import { type Kysely, sql } from "kysely";
import type { Revenue } from "../api.ts";
import { toPlace } from "../cursor.ts";
import type { Tables } from "../tables.ts";
import type { Span } from "./states.ts";
import { moneySums } from "./summary.ts";

export interface RevenueQuery extends Span {
  by: "day" | "week" | "month";
  limit: number;
  cursor?: [period: string, currency: string] | undefined;
}

/** What was captured and refunded, newest period first. */
export async function readRevenue(db: Kysely<Tables>, query: RevenueQuery): Promise<Revenue> {
  const { by, from, to, limit, cursor } = query;
  // As text: `date_trunc` makes a timestamp of a day.
  const period = sql<string>`to_char(date_trunc(${sql.lit(by)}, day), 'YYYY-MM-DD')`;
  const rows = await db
    .selectFrom("revenue_daily")
    .select([period.as("period"), "currency", ...moneySums])
    .$if(from !== undefined, (select) => select.where("day", ">=", from ?? ""))
    .$if(to !== undefined, (select) => select.where("day", "<=", to ?? ""))
    .groupBy([period, "currency"])
    .$if(cursor !== undefined, (select) => {
      const [before, currency] = cursor ?? ["", ""];
      return select.having(sql<boolean>`(${period}, currency) < (${before}, ${currency})`);
    })
    .orderBy("period", "desc")
    .orderBy("currency", "desc")
    .limit(limit + 1)
    .execute();
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    by,
    revenue: rows.slice(0, limit),
    ...(last && { next_cursor: toPlace(last.period, last.currency) }),
  };
}
