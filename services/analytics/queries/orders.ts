import { type Kysely, type Selectable, sql } from "kysely";
import type { Order, Orders } from "../api.ts";
import { toPlace } from "../cursor.ts";
import type { Tables } from "../tables.ts";
import { present } from "./present.ts";
import type { Span } from "./states.ts";

export interface OrdersQuery extends Span {
  state?: string | undefined;
  limit: number;
  cursor?: [placedAt: string, orderId: string] | undefined;
}

/** Orders, newest first. Costs by the rows that it passes, which with a filter are more than it finds. */
export async function readOrders(db: Kysely<Tables>, query: OrdersQuery): Promise<Orders> {
  const { state, from, to, limit, cursor } = query;
  const rows = await db
    .selectFrom("orders")
    .selectAll()
    .$if(state !== undefined, (select) => select.where("state", "=", state ?? ""))
    .$if(from !== undefined, (select) => select.where("placed_at", ">=", startOf(from ?? "", 0)))
    .$if(to !== undefined, (select) => select.where("placed_at", "<", startOf(to ?? "", 1)))
    .$if(cursor !== undefined, (select) => {
      const [placedAt, orderId] = cursor ?? ["", ""];
      return select.where(sql<boolean>`(placed_at, order_id) < (${placedAt}::timestamptz, ${orderId})`);
    })
    .orderBy("placed_at", "desc")
    .orderBy("order_id", "desc")
    .limit(limit + 1)
    .execute();
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    orders: rows.slice(0, limit).map(toSummary),
    ...(last && { next_cursor: toPlace(last.placed_at.toISOString(), last.order_id) }),
  };
}

/** All that is counted of one order, undefined if nothing is. */
export async function readOrder(db: Kysely<Tables>, orderId: string): Promise<Order | undefined> {
  const [order, lines, transitions, payment, refund, screening, shipment, movements, mails] =
    await Promise.all([
      db.selectFrom("orders").selectAll().where("order_id", "=", orderId).executeTakeFirst(),
      db.selectFrom("order_lines").selectAll().where("order_id", "=", orderId).orderBy("line").execute(),
      db.selectFrom("transitions").selectAll().where("order_id", "=", orderId).orderBy("n").execute(),
      db.selectFrom("payments").selectAll().where("order_id", "=", orderId).executeTakeFirst(),
      db.selectFrom("refunds").selectAll().where("order_id", "=", orderId).executeTakeFirst(),
      db.selectFrom("screenings").selectAll().where("order_id", "=", orderId).executeTakeFirst(),
      db.selectFrom("shipments").selectAll().where("order_id", "=", orderId).executeTakeFirst(),
      db
        .selectFrom("stock_movements")
        .selectAll()
        .where("order_id", "=", orderId)
        .orderBy("seq")
        .orderBy("sku")
        .execute(),
      db.selectFrom("mails").selectAll().where("order_id", "=", orderId).orderBy("sent_at").execute(),
    ]);
  if (order === undefined) return undefined;
  return {
    ...toSummary(order),
    lines: lines.map(({ sku, quantity, unit_price_cents }) => ({ sku, quantity, unit_price_cents })),
    transitions: transitions.map(({ state, entered_at, cause }, index) => {
      const next = transitions[index + 1]?.entered_at;
      return {
        state,
        at: entered_at.toISOString(),
        cause,
        ...(next && { lasted_ms: Math.max(0, next.getTime() - entered_at.getTime()) }),
      };
    }),
    ...(payment && { payment: withoutIds(payment) }),
    ...(refund && { refund: withoutIds(refund) }),
    ...(screening && { screening: withoutIds(withoutOperators(screening)) }),
    ...(shipment && { shipment: withoutIds(shipment) }),
    stock_movements: movements.map(({ sku, kind, quantity, moved_at }) => ({
      sku,
      kind,
      quantity,
      moved_at: moved_at.toISOString(),
    })),
    mails: mails.map(({ kind, sent_at }) => ({ kind, sent_at: sent_at.toISOString() })),
  };
}

/** Which rule hit and who decided is for who has the operator's token: `GET :8084/reviews/{order}`. */
function withoutOperators({ rules: _, reviewer: __, ...row }: Selectable<Tables["screenings"]>) {
  return row;
}

function toSummary({ version: _, customer_id: __, ...row }: Selectable<Tables["orders"]>) {
  return present(row);
}

function withoutIds<T extends { order_id: string; seq?: number }>({ order_id: _, seq: __, ...row }: T) {
  return present(row);
}

/** The beginning of a day, or of the one so many days after it. */
function startOf(day: string, later: number): Date {
  const start = new Date(`${day}T00:00:00Z`);
  start.setUTCDate(start.getUTCDate() + later);
  return start;
}
