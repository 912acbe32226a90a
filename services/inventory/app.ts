import type { MessageShape } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import { z } from "zod";
import type { ItemSchema } from "../../gen/shop/inventory/v1/item_pb.ts";
import { type Env, operatorOnly, Problem, readBody, requestDeadline } from "../../lib/mod.ts";
import { item, key, type Ledger, viewLast } from "../../nats/mod.ts";
import { setStock } from "./decide.ts";

const Sku = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);

const StockBody = z
  .strictObject({
    available: z.int().min(0).max(1_000_000_000),
    /** Needed for a new sku, else kept. */
    unit_price_cents: z.int().min(1).max(100_000_000).optional(),
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/)
      .optional(),
  })
  // A price is an amount in a currency: the same number in another one is another price.
  .refine((body) => body.currency === undefined || body.unit_price_cents !== undefined, {
    path: ["unit_price_cents"],
    message: "Needed together with currency",
  });

/**
 * - `GET /stock/{sku}` → `{"sku","available","reserved","unit_price_cents","currency"}`. A moment old at most.
 *   `reserved` are the units of orders that are live or completed: held or sold.
 * - `PUT /stock/{sku}` (operator) sets what is available, and the price where given; answers with the same. An absolute
 *   count, as after stocktaking: orders that come between a GET and a PUT are not taken into account.
 */
export function routes(
  app: Hono<Env>,
  { jsm, ledger, operatorToken }: { jsm: JetStreamManager; ledger: Ledger; operatorToken: string },
): Hono<Env> {
  return app
    .get("/stock/:sku", async (context) => {
      const sku = readSku(context.req.param("sku"));
      const found = await viewLast(jsm, ledger.stream, key(item, sku));
      if (found === undefined) throw unknownSku(sku);
      return context.json(toJson(found));
    })
    .put("/stock/:sku", operatorOnly(operatorToken), async (context) => {
      const sku = readSku(context.req.param("sku"));
      const body = await readBody(context.req.raw, StockBody);
      const change = {
        available: body.available,
        unitPriceCents: body.unit_price_cents,
        currency: body.currency,
      };
      const stored = await ledger.execute(
        { keys: [key(item, sku)], trace: context.var.trace, decide: (view) => setStock(view, sku, change) },
        { signal: requestDeadline() },
      );
      if (stored === "unpriced") {
        throw new Problem(422, "unpriced-item", {
          title: "Item without a price",
          detail: `${JSON.stringify(sku)} is new: send unit_price_cents`,
        });
      }
      context.var.log.info({ sku, ...body }, "stock set");
      return context.json(toJson(stored));
    });
}

function readSku(text: string): string {
  const sku = Sku.safeParse(text);
  if (!sku.success) throw unknownSku(text);
  return sku.data;
}

function unknownSku(sku: string): Problem {
  return new Problem(404, "unknown-sku", {
    title: "Unknown sku",
    detail: `There is no sku ${JSON.stringify(sku)}`,
  });
}

function toJson({ sku, available, reserved, unitPriceCents, currency }: MessageShape<typeof ItemSchema>) {
  return {
    sku,
    available: Number(available),
    reserved: Number(reserved),
    unit_price_cents: Number(unitPriceCents),
    currency,
  };
}
