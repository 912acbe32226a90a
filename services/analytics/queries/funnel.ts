import type { Kysely } from "kysely";
import type { Funnel } from "../api.ts";
import type { Tables } from "../tables.ts";
import { countStates, readReasons, type Span } from "./states.ts";

/** How far the orders of some days have got, and how long they were in each state. */
export async function readFunnel(db: Kysely<Tables>, span: Span): Promise<Funnel> {
  const [counts, cancelled] = await Promise.all([countStates(db, span), readReasons(db, span)]);
  const placed = counts.find(({ state }) => state === "created")?.entered ?? 0;
  return {
    ...(span.from !== undefined && { from: span.from }),
    ...(span.to !== undefined && { to: span.to }),
    placed,
    states: counts.map(({ state, entered, left, totalMs, longestMs }) => ({
      state,
      entered,
      share: placed === 0 ? 0 : entered / placed,
      left,
      ...(left > 0 && { mean_ms: Math.round(totalMs / left), longest_ms: longestMs }),
    })),
    cancelled,
  };
}
