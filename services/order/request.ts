import { createHash } from "node:crypto";
import { z } from "zod";
import { Problem } from "../../lib/mod.ts";

/** Units of one sku in one order. More is a typing error or a contract to be negotiated. */
const MAX_QUANTITY = 10_000;
/** Skus in one order: it bounds the state that one decision reads, here and in inventory. */
const MAX_LINES = 100;

/**
 * Text that a person typed. It ends up in headers of mails and on labels, so it is one line: no control characters, no
 * line separators, no broken surrogates.
 */
function text(maxLength: number) {
  return z
    .string()
    .max(maxLength)
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, "Must be one line without control characters")
    .regex(/\S/, "Must not be blank");
}

const Line = z.strictObject({
  sku: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "Must be 1 to 64 letters, digits, - or _"),
  quantity: z.int().min(1).max(MAX_QUANTITY),
});

/** Lines of the same sku are one: the limit is on their sum. */
const Lines = z
  .array(Line)
  .min(1)
  .max(MAX_LINES)
  .transform((lines, context) => {
    const quantities = new Map<string, number>();
    for (const { sku, quantity } of lines) quantities.set(sku, (quantities.get(sku) ?? 0) + quantity);
    for (const [sku, quantity] of quantities) {
      if (quantity <= MAX_QUANTITY) continue;
      const message = `${quantity} of ${JSON.stringify(sku)} in all: an order has ${MAX_QUANTITY} at most`;
      context.issues.push({ code: "custom", message, input: lines });
    }
    return [...quantities].map(([sku, quantity]) => ({ sku, quantity }));
  });

const Address = z.strictObject({
  name: text(100),
  line1: text(200),
  line2: text(200).optional(),
  city: text(100),
  postal_code: text(20),
  country: z.string().regex(/^[A-Z]{2}$/, "Must be an ISO 3166-1 alpha-2 code"),
});

/** The body of `POST /orders`. It has no prices: a client that sends one is told so. */
export const OrderBody = z
  .strictObject({
    customer: z.strictObject({
      id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "Must be 1 to 64 letters, digits, - or _"),
      email: z.email().max(254),
      plan: z.enum(["standard", "trial"]),
    }),
    lines: Lines,
    /** Needed unless nothing is shipped. */
    shipping_address: Address.optional(),
    shipping_priority: z.enum(["standard", "express"]).default("standard"),
    payment_token: z.string().regex(/^[\x21-\x7e]{1,255}$/, "Must be 1 to 255 printable ASCII characters"),
  })
  .refine((body) => body.customer.plan === "trial" || body.shipping_address !== undefined, {
    path: ["shipping_address"],
    message: "Required for this plan",
  });

/** A valid request: lines merged, defaults filled in. */
export type OrderRequest = z.infer<typeof OrderBody>;

/**
 * SHA-256, hex, of what the request asks for, whatever the order of its fields and lines. A retry may cross a deployment:
 * a field that is added later must stay out of the hash where it has its default.
 */
export function hashRequest(request: OrderRequest): string {
  const lines = request.lines.toSorted((a, b) => (a.sku < b.sku ? -1 : 1));
  return sha256(JSON.stringify(sorted({ ...request, lines })));
}

/**
 * The `Idempotency-Key` header as the id of its record: its SHA-256, hex, since a key may hold what a subject may not.
 * @throws {Problem} 400 if there is none, or it is not 1 to 255 printable ASCII characters.
 */
export function readIdempotencyKey(header: string | undefined): string {
  if (header !== undefined && /^[\x20-\x7e]{1,255}$/.test(header)) return sha256(header);
  throw new Problem(400, header === undefined ? "idempotency-key-missing" : "idempotency-key-malformed", {
    title: "Idempotency-Key required",
    detail:
      "Send `Idempotency-Key` with 1 to 255 printable ASCII characters: a new one for each order, the same one when " +
      "you send an order again",
  });
}

/** The same value with the fields of every object in alphabetical order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([name, field]) => [name, sorted(field)]));
}

function sha256(content: string): string {
  return createHash("sha256").update(content).digest("hex");
}
