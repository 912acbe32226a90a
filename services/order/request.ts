import { hash } from "node:crypto";
import { z } from "zod";
import { isMailAddress, Problem } from "../../lib/mod.ts";

export { isCurrency } from "../../lib/mod.ts";

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

/** Eleven digits of cents: what is above is a mistake, and no provider takes it. */
export const MAX_TOTAL_CENTS = 99_999_999_999;

/** The body of `POST /orders`. Prices are the catalogue's. What a customer was shown can be said, and is compared. */
export const OrderBody = z
  .strictObject({
    customer: z.strictObject({
      id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "Must be 1 to 64 letters, digits, - or _"),
      email: z.string().max(254).refine(isMailAddress, "Must be one mail address, without a name").meta({
        format: "idn-email",
        description: "The domain may be internationalized or an address literal, the local part beyond ASCII",
      }),
      plan: z.enum(["standard", "trial"]),
    }),
    lines: Lines,
    /** Needed unless nothing is shipped. */
    shipping_address: Address.optional(),
    shipping_priority: z.enum(["standard", "express"]).default("standard"),
    payment_token: z.string().regex(/^[\x21-\x7e]{1,255}$/, "Must be 1 to 255 printable ASCII characters"),
    expected_total_cents: z.int().min(0).max(MAX_TOTAL_CENTS).optional().meta({
      description:
        "What the customer was shown: an order that comes to another total is refused. Default: any",
    }),
  })
  .refine((body) => body.customer.plan === "trial" || body.shipping_address !== undefined, {
    path: ["shipping_address"],
    message: "Required for this plan",
  });

/** A valid request: lines merged, defaults filled in. */
export type OrderRequest = z.infer<typeof OrderBody>;

/** All fields of `T`, at every level: whoever adds one to the request is told that the hash has to know it. */
type EveryField<T> = T extends readonly (infer U)[]
  ? EveryField<U>[]
  : T extends object
    ? { [F in keyof Required<T>]: EveryField<T[F]> }
    : T;

/**
 * SHA-256, base64url, of what the request asks for, whatever the order of its fields and lines. A retry may cross a
 * deployment: a field that is added later must stay out of the hash where it has its default.
 */
export function hashRequest(request: OrderRequest): string {
  const { customer, lines, payment_token, shipping_address: address, shipping_priority } = request;
  const { expected_total_cents } = request;
  const sorted = {
    customer: { email: customer.email, id: customer.id, plan: customer.plan },
    lines: lines.map(({ quantity, sku }) => ({ quantity, sku })).sort((a, b) => (a.sku < b.sku ? -1 : 1)),
    payment_token,
    shipping_address: address && {
      city: address.city,
      country: address.country,
      line1: address.line1,
      line2: address.line2,
      name: address.name,
      postal_code: address.postal_code,
    },
    shipping_priority,
    expected_total_cents,
  } satisfies EveryField<OrderRequest>;
  return hash("sha256", JSON.stringify(sorted), "base64url");
}

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

/** As a client chooses it. */
export const IdempotencyKey = z.string().regex(IDEMPOTENCY_KEY);

/**
 * The `Idempotency-Key` header.
 * @throws {Problem} 400 if there is none, or it is not 1 to 255 printable ASCII characters.
 */
export function readIdempotencyKey(header: string | undefined): string {
  if (header !== undefined && IDEMPOTENCY_KEY.test(header)) return header;
  throw new Problem(400, header === undefined ? "idempotency-key-missing" : "idempotency-key-malformed", {
    title: "Idempotency-Key required",
    detail:
      "Send `Idempotency-Key` with 1 to 255 printable ASCII characters: a new one for each order, the same one when " +
      "you send an order again",
  });
}
