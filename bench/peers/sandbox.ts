import { skus } from "../target.ts";

/**
 * The world outside a shop, the same for every peer and within its own process: it answers at once, so that what is
 * measured is the machinery between the steps and not a provider.
 */

/** What a peer is asked for: one unit of one sku. */
export interface CheckoutRequest {
  readonly orderId: string;
  readonly sku: string;
  /** `tok_declined` is declined. */
  readonly paymentToken: string;
  readonly address: Address;
}

export interface Address {
  readonly name: string;
  readonly line1: string;
  readonly city: string;
}

export type CheckoutResult =
  | { readonly state: "completed"; readonly shipmentId: string }
  | { readonly state: "cancelled"; readonly reason: CancelReason };

export type CancelReason = "out_of_stock" | "address_flagged" | "payment_declined" | "fulfillment_failed";

/** What is sold: what the benchmark orders, and what the carrier refuses. */
export const stockedSkus: readonly string[] = [...skus, "broken"];

/** Units of each at the start. */
export const initialStock = 1_000_000;

export const priceCents = 1_200;

/** Provider and mail server remember as many: more than can be tried again, and memory does not grow with the run. */
const remembered = 10_000;

/** A rule without side effects: whether a person should look at an address before anything is sent there. */
export function isFlagged({ line1 }: Address): boolean {
  return line1.includes("Freight Forwarding");
}

export type Charge = { readonly kind: "captured"; readonly chargeId: string } | { readonly kind: "declined" };

export interface ChargeRequest {
  readonly idempotencyKey: string;
  readonly token: string;
  readonly amountCents: number;
}

const charges = new Map<string, Charge>();
const refunds = new Map<string, string>();
const mails = new Map<string, string>();

/** The payment provider. The same key gets the same answer, however often it is asked. */
export function charge({ idempotencyKey, token }: ChargeRequest): Charge {
  const result: Charge =
    token === "tok_declined" ? { kind: "declined" } : { kind: "captured", chargeId: `ch_${idempotencyKey}` };
  return once(charges, idempotencyKey, result);
}

/** Gives back what was captured; once for each charge. */
export function refund(chargeId: string): string {
  return once(refunds, chargeId, `re_${chargeId}`);
}

export type Shipment =
  | { readonly kind: "shipped"; readonly shipmentId: string }
  | { readonly kind: "refused" };

/** The carrier, which refuses the sku `broken`. The same order gets the same shipment. */
export function ship({ orderId, sku }: CheckoutRequest): Shipment {
  return sku === "broken" ? { kind: "refused" } : { kind: "shipped", shipmentId: `shp_${orderId}` };
}

/** The mail server: one message for each id, however often it is sent. */
export function sendMail(messageId: string, text: string): void {
  once(mails, messageId, text);
}

function once<Value>(done: Map<string, Value>, key: string, value: Value): Value {
  const earlier = done.get(key);
  if (earlier !== undefined) return earlier;
  done.set(key, value);
  const [oldest] = done.keys();
  if (done.size > remembered && oldest !== undefined) done.delete(oldest);
  return value;
}
