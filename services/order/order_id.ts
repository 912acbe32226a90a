import { createHash, createHmac, createSecretKey } from "node:crypto";

/** The orders that idempotency keys stand for. */
export interface OrderIds {
  /** The id of the order that an idempotency key stands for: the same everywhere and always. */
  idOf(idempotencyKey: string): string;
  /** Tells the secret that the ids are made with from any other, and nothing else of it. 8 bytes. */
  readonly fingerprint: Uint8Array;
}

/** 128 bits: no two keys ever meet in one id. */
const ID_DIGITS = 32;
const FINGERPRINT_BYTES = 8;

/**
 * The same key has the same id everywhere and always, which is what makes it one order (ADR 10). Keys may be easy to
 * guess, ids are not: they are made with the shop's secret.
 */
export function orderIds(secret: Uint8Array): OrderIds {
  const hmacKey = createSecretKey(secret);
  return {
    idOf: (idempotencyKey) =>
      `ord_${createHmac("sha256", hmacKey).update(idempotencyKey).digest("hex").slice(0, ID_DIGITS)}`,
    fingerprint: fingerprintOf(secret),
  };
}

export function fingerprintOf(secret: Uint8Array): Uint8Array {
  return createHash("sha256")
    .update("order.id_secret")
    .update(secret)
    .digest()
    .subarray(0, FINGERPRINT_BYTES);
}
