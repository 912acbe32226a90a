import { type Kysely, sql } from "kysely";
import type { Summary } from "../api.ts";
import type { Tables } from "../tables.ts";
import { countStates, readReasons } from "./states.ts";

/** All orders and all money since the beginning. Costs by the days that the shop has been open, not by its orders. */
export async function readSummary(db: Kysely<Tables>): Promise<Summary> {
  const [states, cancelled, money] = await Promise.all([
    countStates(db, {}),
    readReasons(db, {}),
    db
      .selectFrom("revenue_daily")
      .select(["currency", ...moneySums])
      .groupBy("currency")
      .orderBy("currency")
      .execute(),
  ]);
  const entered = (state: string) => states.find((row) => row.state === state)?.entered ?? 0;
  const [placed, completed, cancellations] = [entered("created"), entered("completed"), entered("cancelled")];
  return {
    orders: {
      placed,
      live: placed - completed - cancellations,
      completed,
      cancelled: cancellations,
    },
    states: states.flatMap(({ state, entered, left }) => {
      return entered > left ? [{ state, orders: entered - left }] : [];
    }),
    cancelled,
    revenue: money,
  };
}

/** Sums of rows of `revenue_daily`. A sum of `bigint` is a `numeric` unless it is told otherwise. */
export const moneySums = [
  sql<number>`sum(captures)::bigint`.as("captures"),
  sql<number>`sum(captured_cents)::bigint`.as("captured_cents"),
  sql<number>`sum(refunds)::bigint`.as("refunds"),
  sql<number>`sum(refunded_cents)::bigint`.as("refunded_cents"),
  sql<number>`(sum(captured_cents) - sum(refunded_cents))::bigint`.as("net_cents"),
] as const;
