import { z } from "zod";
import { Cents, Currency, isCurrency, type Operation } from "../../lib/mod.ts";

export const Sku = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);

export const Stock = z
  .object({
    sku: z.string(),
    available: z.int().meta({ description: "Units that an order can still take" }),
    reserved: z.int().meta({ description: "Units that live orders hold" }),
    sold: z.int().meta({ description: "Units of completed orders" }),
    unit_price_cents: Cents,
    currency: Currency,
  })
  .meta({ id: "Stock" });
export type Stock = z.infer<typeof Stock>;

const StockBody = z
  .strictObject({
    available: z.int().min(0).max(1_000_000_000),
    unit_price_cents: z
      .int()
      .min(1)
      .max(100_000_000)
      .optional()
      .meta({ description: "Needed for a new sku, and together with currency; else kept" }),
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/, { abort: true })
      .refine(isCurrency, "Must be a currency of ISO 4217 that is in use")
      .optional(),
  })
  // A price is an amount in a currency: the same number in another one is another price.
  .refine((body) => body.currency === undefined || body.unit_price_cents !== undefined, {
    path: ["unit_price_cents"],
    message: "Needed together with currency",
  });

export const getStock = {
  id: "getStock",
  summary: "What there is of a sku, a moment old at most",
  path: { sku: Sku },
  answers: { 200: Stock },
  problems: { 404: ["unknown-sku"] },
} satisfies Operation;

export const putStock = {
  id: "putStock",
  summary: "Sets what is available of a sku, and its price where given",
  description:
    "An absolute count, as after stocktaking: orders that come between a GET and a PUT are not taken into account.",
  path: { sku: Sku },
  body: StockBody,
  answers: { 200: Stock },
  problems: { 404: ["unknown-sku"], 422: ["unpriced-item"] },
} satisfies Operation;
