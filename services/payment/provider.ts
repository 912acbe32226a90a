/** One capture, the same on every try. */
export interface CaptureRequest {
  orderId: string;
  /** In minor units by ISO 4217. Another unit of the provider's is the adapter's to convert to. */
  amountCents: bigint;
  /** ISO 4217, upper case. */
  currency: string;
  /** Never to be shown or logged. */
  token: string;
  idempotencyKey: string;
  /** Whether the provider may have been asked for this capture before. */
  askedBefore: boolean;
  /**
   * What became of the capture is all that is wanted: the order is over, and what was captured will go back. A provider
   * that can tell without capturing does not capture. Comes with `askedBefore` only.
   */
  learnOnly: boolean;
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
  /** When to come again at the earliest, if the provider says so. */
  retryAfterMs?: number;
}

/**
 * Nothing was captured under this key, and nothing will be by asking again in the same way, until someone mends what is
 * wrong on this side; or, to a request that is `learnOnly`, nothing ever will be. Said only where it is certain.
 */
export interface Refused {
  kind: "refused";
  /** For the log: no token, no key. */
  code: string;
  /** When to come again, in case that someone has mended it. */
  retryAfterMs?: number;
}

export type CaptureAnswer =
  | { kind: "captured"; captureId: string }
  /** The customer cannot pay this. Final. */
  | { kind: "declined"; code: string }
  | Refused
  | Unavailable;

/** `refunded` once the money is on its way back for good: a refund that may still fail is `unavailable`. */
export type RefundAnswer =
  | { kind: "refunded"; refundId: string }
  /** It will not be refunded by asking again: a person has to see to it. `code` is for people: no token, no key. */
  | { kind: "refund_refused"; code: string }
  | Unavailable;

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
