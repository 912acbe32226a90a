/** One capture, the same on every try. */
export interface CaptureRequest {
  orderId: string;
  amountCents: bigint;
  /** ISO 4217, upper case. */
  currency: string;
  /** Never to be shown or logged. */
  token: string;
  idempotencyKey: string;
  /** Whether the provider may have been asked for this capture before. */
  askedBefore: boolean;
}

/** One refund of a whole capture, the same on every try. */
export interface RefundRequest {
  orderId: string;
  captureId: string;
  amountCents: bigint;
  currency: string;
  idempotencyKey: string;
}

/** The provider has not said what became of it: the same request has to be sent again. Nothing is known until then. */
export interface Unavailable {
  kind: "unavailable";
  /** For the log: no token, no key. */
  reason: string;
  /** When to come again, if the provider knows better than the processor's backoff. */
  retryAfterMs?: number;
}

export type CaptureAnswer =
  | { kind: "captured"; captureId: string }
  | { kind: "declined"; code: string }
  | Unavailable;

export type RefundAnswer = { kind: "refunded"; refundId: string } | Unavailable;

/**
 * Whoever moves the money. I4: requests with the same idempotency key have one effect and one final answer, whoever
 * sends them, however often, also after a crash on either side.
 *
 * What can go wrong is an answer. Both methods throw only for a bug, or when `signal` aborts (the service stops), which
 * says as little about the outcome as `unavailable`.
 */
export interface Provider {
  readonly name: string;
  capture(request: CaptureRequest, options: { signal: AbortSignal }): Promise<CaptureAnswer>;
  refund(request: RefundRequest, options: { signal: AbortSignal }): Promise<RefundAnswer>;
}
