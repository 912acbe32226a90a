import type { MessageShape } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import type { ItemSchema } from "../../gen/shop/inventory/v1/item_pb.ts";
import { described, type Env, operatorOnly, Problem, readBody, requestDeadline } from "../../lib/mod.ts";
import { item, key, type Ledger, viewLast } from "../../nats/mod.ts";
import { getStock, putStock, Sku, type Stock } from "./api.ts";
import { setStock } from "./decide.ts";

/** What `api.ts` describes. */
export function routes(
  app: Hono<Env>,
  { jsm, ledger, operatorToken }: { jsm: JetStreamManager; ledger: Ledger; operatorToken: string },
): Hono<Env> {
  return app
    .get("/stock/:sku", described(getStock), async (context) => {
      const sku = readSku(context.req.param("sku"));
      const found = await viewLast(jsm, ledger.stream, key(item, sku));
      if (found === undefined) throw unknownSku(sku);
      return context.json(toJson(found));
    })
    .put("/stock/:sku", described(putStock), operatorOnly(operatorToken), async (context) => {
      const sku = readSku(context.req.param("sku"));
      const body = await readBody(context.req.raw, putStock.body);
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

function toJson({
  sku,
  available,
  reserved,
  sold,
  unitPriceCents,
  currency,
}: MessageShape<typeof ItemSchema>): Stock {
  return {
    sku,
    available: Number(available),
    reserved: Number(reserved),
    sold: Number(sold),
    unit_price_cents: Number(unitPriceCents),
    currency,
  };
}
