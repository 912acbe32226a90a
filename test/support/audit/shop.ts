import assert from "node:assert/strict";
import type { OrderView, TestShop } from "../shop.ts";
import { until } from "../until.ts";

interface Stock {
  available: number;
  reserved: number;
  sold: number;
}

interface Payment {
  status: string;
  captured_cents: number;
  refunded_cents: number;
}

/** What was in stock before the first order. */
export type InitialStock = Readonly<Record<string, number>>;

export interface Placed {
  id: string;
  lines: readonly { sku: string; quantity: number }[];
}

/**
 * Checks the invariants of the design on orders that have ended, through the interfaces that anybody can use.
 * - I1: money captured and not refunded ⇔ completed.
 * - I2: stock sold ⇔ completed, to the unit, and nothing is reserved. Inventory hears of an order's end a moment later.
 * - I3: every order has ended.
 */
export async function audit(
  shop: TestShop,
  placed: readonly Placed[],
  initial: InitialStock,
): Promise<OrderView[]> {
  const orders = await Promise.all(placed.map(({ id }) => shop.ends(id)));
  const taken = new Map<string, number>();
  for (const [index, order] of orders.entries()) {
    const completed = order.state === "completed";
    const { status, body } = await shop.call<Payment>("payment", `/payments/${order.order_id}`);
    const kept = status === 404 ? 0 : body.captured_cents - body.refunded_cents;
    const due = completed ? order.total_cents : 0;
    assert.equal(kept, due, `I1: ${kept} cents kept of ${order.order_id}, ${order.reason ?? order.state}`);
    if (!completed) continue;
    for (const { sku, quantity } of placed[index]?.lines ?? [])
      taken.set(sku, (taken.get(sku) ?? 0) + quantity);
  }
  for (const [sku, units] of Object.entries(initial)) {
    const bought = taken.get(sku) ?? 0;
    const { available, sold } = await until(`no order to hold any ${sku}`, async () => {
      const { body } = await shop.call<Stock>("inventory", `/stock/${sku}`);
      return body.reserved === 0 && body;
    });
    assert.deepEqual({ available, sold }, { available: units - bought, sold: bought }, `I2: stock of ${sku}`);
  }
  return orders;
}
