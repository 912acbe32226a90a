import { type Kysely, sql } from "kysely";
import { orderStates } from "../api.ts";
import type { Tables } from "../tables.ts";

/** Days on which orders were placed, both inclusive. Default: all. */
export interface Span {
  from?: string | undefined;
  to?: string | undefined;
}

/** How many orders have entered a state and left it again, and how long those were in it. */
export interface StateCount {
  state: string;
  entered: number;
  left: number;
  totalMs: number;
  longestMs: number;
}

/** Every state, in the order in which orders get there. */
export async function countStates(db: Kysely<Tables>, { from, to }: Span): Promise<StateCount[]> {
  const [entered, left] = await Promise.all([
    db
      .selectFrom("funnel_daily")
      .select(["state", sql<number>`sum(orders)::bigint`.as("orders")])
      .$if(from !== undefined, (query) => query.where("day", ">=", from ?? ""))
      .$if(to !== undefined, (query) => query.where("day", "<=", to ?? ""))
      .groupBy("state")
      .execute(),
    db
      .selectFrom("time_in_state_daily")
      .select([
        "state",
        sql<number>`sum(visits)::bigint`.as("visits"),
        sql<number>`sum(total_ms)::bigint`.as("total_ms"),
        sql<number>`max(longest_ms)`.as("longest_ms"),
      ])
      .$if(from !== undefined, (query) => query.where("day", ">=", from ?? ""))
      .$if(to !== undefined, (query) => query.where("day", "<=", to ?? ""))
      .groupBy("state")
      .execute(),
  ]);
  const enteredBy = new Map(entered.map((row) => [row.state, row.orders]));
  const leftBy = new Map(left.map((row) => [row.state, row]));
  return orderStates.map((state) => {
    const times = leftBy.get(state);
    return {
      state,
      entered: enteredBy.get(state) ?? 0,
      left: times?.visits ?? 0,
      totalMs: times?.total_ms ?? 0,
      longestMs: times?.longest_ms ?? 0,
    };
  });
}

/** Why orders were cancelled, the most frequent reason first. */
export function readReasons(
  db: Kysely<Tables>,
  { from, to }: Span,
): Promise<{ reason: string; orders: number }[]> {
  return db
    .selectFrom("funnel_daily")
    .select(["reason", sql<number>`sum(orders)::bigint`.as("orders")])
    .where("state", "=", "cancelled")
    .$if(from !== undefined, (query) => query.where("day", ">=", from ?? ""))
    .$if(to !== undefined, (query) => query.where("day", "<=", to ?? ""))
    .groupBy("reason")
    .orderBy("orders", "desc")
    .orderBy("reason")
    .execute();
}
