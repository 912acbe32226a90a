import type { Context } from "hono";
import { type Env, readQuery, toCursor } from "../../lib/mod.ts";
import { listOrders } from "./api.ts";
import { findOrders } from "./find.ts";
import { type Source, toSummary } from "./status.ts";

/**
 * `GET /orders?state=&stuck=&limit=&cursor=` → `{"orders":[{"order_id","state","reason"?,"stuck"?,"total_cents","currency",
 * "placed_at"}],"next_cursor"?}`, oldest first, as {@linkcode findOrders} finds them; 400 with every fault for a malformed query.
 */
export function listRoute(source: Source): (context: Context<Env>) => Promise<Response> {
  return async (context) => {
    const { state, stuck, limit, cursor } = readQuery(context.req.query(), listOrders.query);
    const filter = { state, stuck: stuck === "true" };
    const { found, next } = await findOrders(source, filter, { from: cursor, limit });
    return context.json({
      orders: found.map(toSummary),
      ...(next !== undefined && { next_cursor: toCursor(next) }),
    });
  };
}
