import { setTimeout as sleep } from "node:timers/promises";
import type { Shop } from "../tools/supervisor.ts";
import { RefusedError } from "./shop_orders.ts";
import { skus } from "./target.ts";

const STOCK = 1_000_000;
const PRICE = { unit_price_cents: 1_200, currency: "EUR" };
const KNOWN_WITHIN_MS = 30_000;
const ASK_AGAIN_MS = 50;

/**
 * Puts the skus on sale and resolves when the order service has heard of all of them.
 * @param placeAll Places an order for all skus. It is repeated for as long as that is refused.
 */
export async function fillCatalogue(shop: Shop, placeAll: () => Promise<unknown>): Promise<void> {
  await Promise.all(skus.map((sku) => putStock(`${shop.url("inventory")}/stock/${sku}`)));
  const giveUpAt = performance.now() + KNOWN_WITHIN_MS;
  for (;;) {
    try {
      await placeAll();
      return;
    } catch (cause) {
      // 422: there is a sku that is not for sale yet.
      const early = cause instanceof RefusedError && cause.status === 422;
      if (!early || performance.now() > giveUpAt) throw cause;
    }
    await sleep(ASK_AGAIN_MS);
  }
}

async function putStock(url: string): Promise<void> {
  const response = await fetch(url, {
    method: "PUT",
    headers: { authorization: "Bearer dev", "content-type": "application/json" },
    body: JSON.stringify({ available: STOCK, ...PRICE }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`Cannot put goods in stock at ${url}: ${response.status} ${text}`);
}
