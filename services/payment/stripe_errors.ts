import { Stripe } from "stripe";

/** What Stripe's errors mean to a payment. See https://docs.stripe.com/api/errors. */
const { errors } = Stripe;

/** Why the customer cannot pay, or undefined if the fault is not the customer's. */
export function declineCode(cause: unknown): string | undefined {
  if (cause instanceof errors.StripeCardError) return declined(cause);
  if (!(cause instanceof errors.StripeInvalidRequestError)) return undefined;
  if (cause.param === "payment_method") return cause.code ?? "invalid_token";
  return cause.code === "amount_too_small" || cause.code === "amount_too_large" ? cause.code : undefined;
}

export function declined(error: { decline_code?: string; code?: string }): string {
  return error.decline_code || error.code || "card_declined";
}

/**
 * Whether Stripe itself, and nothing in front of it, refused to begin with the request. One that names a PaymentIntent
 * got further than that.
 */
export function isInvalid(cause: unknown): cause is Stripe.errors.StripeInvalidRequestError {
  return (
    cause instanceof errors.StripeInvalidRequestError &&
    cause.rawType === "invalid_request_error" &&
    cause.payment_intent === undefined
  );
}

/** Whether the idempotency key was used for another request before. What became of that one it does not say. */
export function isMismatch(cause: unknown): boolean {
  return cause instanceof errors.StripeIdempotencyError;
}

/**
 * What Stripe refuses a refund for, whatever is tried again: the customer's bank has the money in a dispute, or the account that
 * it came from is gone (https://docs.stripe.com/error-codes). Any other refusal may pass.
 */
const IMPOSSIBLE = new Set(["charge_disputed", "refund_disputed_payment", "account_closed"]);

/** Whether a refund will never be made by asking for it. */
export function isRefundImpossible(cause: unknown): cause is Stripe.errors.StripeInvalidRequestError {
  return cause instanceof errors.StripeInvalidRequestError && IMPOSSIBLE.has(cause.code ?? "");
}

export function isAlreadyRefunded(cause: unknown): boolean {
  return cause instanceof errors.StripeInvalidRequestError && cause.code === "charge_already_refunded";
}

/** Whether what was to be changed is no longer in a state that allows it. */
export function hasMovedOn(cause: unknown): boolean {
  return (
    cause instanceof errors.StripeInvalidRequestError && cause.code === "payment_intent_unexpected_state"
  );
}

/** Whether the same request will be refused again for as long as nobody does anything about it. */
export function needsPerson(cause: Stripe.errors.StripeError): boolean {
  return (
    cause instanceof errors.StripeAuthenticationError ||
    cause instanceof errors.StripePermissionError ||
    cause instanceof errors.StripeInvalidRequestError ||
    cause instanceof errors.StripeIdempotencyError
  );
}

/** What Stripe said, without its message, which repeats what was sent to it. */
export function codeOf({ type, statusCode, code }: Stripe.errors.StripeError): string {
  return ["Stripe:", type, statusCode, code].filter(Boolean).join(" ");
}

/** @throws {StripeAPIError} If it is no list: what a proxy answers in Stripe's place is not "there is none". */
export function listOf<T>({ data }: { data?: T[] }): T[] {
  if (!Array.isArray(data)) throw new errors.StripeAPIError({ type: "api_error", message: "not a list" });
  return data;
}

/** @throws {StripeAPIError} If it is nothing that Stripe names. */
export function objectOf<T extends { id: string }>(answer: T): T {
  if (typeof answer.id !== "string") {
    throw new errors.StripeAPIError({ type: "api_error", message: "not an object with an id" });
  }
  return answer;
}
