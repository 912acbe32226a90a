import type { Hono } from "hono";
import { type Kysely, sql } from "kysely";
import { described, type Env, operatorOnly, Problem, readOrderId, readQuery } from "../../lib/mod.ts";
import {
  getFunnel,
  getOrder,
  getProjection,
  getRevenue,
  getSummary,
  listOrders,
  listStockMovements,
  startRebuild,
} from "./api.ts";
import { isDatabaseDown } from "./database.ts";
import { readFunnel } from "./queries/funnel.ts";
import { readOrder, readOrders } from "./queries/orders.ts";
import { readRevenue } from "./queries/revenue.ts";
import { readStockMovements } from "./queries/stock_movements.ts";
import { readSummary } from "./queries/summary.ts";
import type { Rebuild } from "./rebuild.ts";
import { readStatus, type StatusSource } from "./status.ts";
import { LIVE } from "./store.ts";
import type { Tables } from "./tables.ts";

interface Dependencies extends StatusSource {
  rebuild: Rebuild;
  operatorToken: string;
}

/** What `api.ts` describes: what the projection has counted, a moment old at most while it is counting. */
export function routes(app: Hono<Env>, dependencies: Dependencies): Hono<Env> {
  const { database, rebuild, operatorToken } = dependencies;
  const ask = <T>(read: (db: Kysely<Tables>) => Promise<T>): Promise<T> =>
    answered(() => answer(database.db, read));
  return app
    .get("/summary", described(getSummary), async (context) => context.json(await ask(readSummary)))
    .get("/funnel", described(getFunnel), async (context) => {
      const query = readQuery(context.req.query(), getFunnel.query);
      return context.json(await ask((db) => readFunnel(db, query)));
    })
    .get("/revenue", described(getRevenue), async (context) => {
      const query = readQuery(context.req.query(), getRevenue.query);
      return context.json(await ask((db) => readRevenue(db, query)));
    })
    .get("/orders", described(listOrders), async (context) => {
      const query = readQuery(context.req.query(), listOrders.query);
      return context.json(await ask((db) => readOrders(db, query)));
    })
    .get("/orders/:id", described(getOrder), async (context) => {
      const id = readOrderId(context.req.param("id"), unknownOrder);
      const order = await ask((db) => readOrder(db, id));
      if (order === undefined) throw unknownOrder(id);
      return context.json(order);
    })
    .get("/stock-movements", described(listStockMovements), async (context) => {
      const query = readQuery(context.req.query(), listStockMovements.query);
      return context.json(await ask((db) => readStockMovements(db, query)));
    })
    .get("/projection", described(getProjection), async (context) => {
      return context.json(await answered(() => readStatus(dependencies)));
    })
    .post("/rebuild", operatorOnly(operatorToken), described(startRebuild), async (context) => {
      const started = rebuild.start();
      if (started !== "started") throw notNow(started);
      context.var.log.warn({}, "a rebuild was asked for");
      return context.json(await answered(() => readStatus(dependencies)), 202);
    });
}

/** All of an answer is of one moment and of one projection: a rebuild takes its place before it or after it. */
function answer<T>(db: Kysely<Tables>, read: (db: Kysely<Tables>) => Promise<T>): Promise<T> {
  return db
    .transaction()
    .setIsolationLevel("repeatable read")
    .execute(async (transaction) => {
      // Before anything is looked at, so that the moment is after the swap if that is under way.
      await sql`LOCK TABLE ${sql.table(`${LIVE}.positions`)} IN ACCESS SHARE MODE`.execute(transaction);
      return read(transaction.withSchema(LIVE));
    });
}

function notNow(why: "under way" | "standing by"): Problem {
  if (why === "under way") {
    return new Problem(409, "rebuild-under-way", {
      title: "Rebuild under way",
      detail: "The projection is being rebuilt; GET /projection says how far it is",
    });
  }
  return new Problem(409, "standing-by", {
    title: "Standing by",
    detail:
      "Another process writes the projection right now, or the database does not answer. Ask that one, or try again",
  });
}

/** @throws {Problem} 503 if the database does not answer. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    if (!isDatabaseDown(cause)) throw cause;
    throw new Problem(503, "database-unavailable", {
      title: "Database not available",
      detail: "The database does not answer right now. What happens meanwhile is counted once it does",
      headers: { "retry-after": "1" },
    });
  }
}

function unknownOrder(orderId: string): Problem {
  return new Problem(404, "unknown-order", {
    title: "Unknown order",
    detail: `Nothing is counted of an order ${JSON.stringify(orderId)}`,
  });
}
