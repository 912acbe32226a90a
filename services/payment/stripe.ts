import { Stripe } from "stripe";
import type { Log } from "../../nats/mod.ts";
import type {
  CaptureAnswer,
  CaptureRequest,
  Provider,
  RefundAnswer,
  RefundRequest,
  Unavailable,
} from "./provider.ts";

const { errors } = Stripe;

export interface StripeOptions {
  secretKey: string;
  /** Protocol, host and port of the API. Default: Stripe's. */
  apiBase?: string | undefined;
  /** How long one request may be without an answer. Default 10,000: Stripe waits for the card's bank. */
  timeoutMs?: number;
  log: Log;
}

/** What only a person can mend (a wrong API key, a refused request) need not be tried every few seconds. */
const MISCONFIGURED_RETRY_MS = 30_000;

/**
 * Captures with PaymentIntents, confirmed in the request that creates them. A token is the id of a PaymentMethod.
 *
 * Only what the customer can do something about is `declined`: the card, an unknown payment method, an amount that
 * cannot be charged, a bank that wants the customer to authenticate (nobody is there to do so). A wrong API key, a
 * missing permission or a request that Stripe does not understand is this shop's fault: `unavailable`, with an error
 * in the log, until a person has mended it or the checkout's deadline ends the order.
 *
 * I4 rests on the idempotency key for a day: Stripe forgets keys after 24 hours, and until then repeats its first
 * answer, even a 500 (https://docs.stripe.com/api/idempotent_requests). So a capture that may have been asked for
 * before is searched for by its order first. The search lags by minutes at most, when the key still protects.
 */
export function stripe(options: StripeOptions): Provider {
  const { log } = options;
  const client = new Stripe(options.secretKey, {
    ...address(options.apiBase),
    timeout: options.timeoutMs ?? 10_000,
    // The processor tries again, and lets others go first. The library still repeats a request, with its key, whose
    // kept-alive connection was closed under it.
    maxNetworkRetries: 0,
    telemetry: false,
  });

  async function findCapture(orderId: string): Promise<string | undefined> {
    const query = `status:"succeeded" AND metadata["order_id"]:${JSON.stringify(orderId)}`;
    return firstId(await client.paymentIntents.search({ query, limit: 1 }));
  }

  async function createCapture(request: CaptureRequest): Promise<CaptureAnswer> {
    const intent = await client.paymentIntents.create(
      {
        amount: Number(request.amountCents),
        currency: request.currency.toLowerCase(),
        confirm: true,
        payment_method: request.token,
        automatic_payment_methods: { enabled: true, allow_redirects: "never" },
        metadata: { order_id: request.orderId },
      },
      { idempotencyKey: request.idempotencyKey },
    );
    // A repeated answer is as old as the first request.
    const current = intent.status === "processing" ? await client.paymentIntents.retrieve(intent.id) : intent;
    switch (current.status) {
      case "succeeded":
        return { kind: "captured", captureId: current.id };
      case "requires_action":
      case "requires_confirmation":
        return { kind: "declined", code: "authentication_required" };
      case "requires_payment_method":
      case "canceled":
        return { kind: "declined", code: declined(current.last_payment_error ?? {}) };
      default:
        return { kind: "unavailable", reason: `Stripe: the payment is ${current.status}` };
    }
  }

  async function createRefund(request: RefundRequest): Promise<RefundAnswer> {
    const { id, status } = await client.refunds.create(
      { payment_intent: request.captureId, metadata: { order_id: request.orderId } },
      { idempotencyKey: request.idempotencyKey },
    );
    if (status === "succeeded" || status === "pending") return { kind: "refunded", refundId: id };
    log.error({ order_id: request.orderId, refund_id: id, status }, "a refund failed; a person has to look");
    return {
      kind: "unavailable",
      reason: `Stripe: the refund is ${status}`,
      retryAfterMs: MISCONFIGURED_RETRY_MS,
    };
  }

  /** A capture is refunded as a whole, and Stripe does so once: after the key is forgotten it says that it has. */
  async function findRefund(captureId: string): Promise<RefundAnswer> {
    const refundId = firstId(await client.refunds.list({ payment_intent: captureId, limit: 1 }));
    return refundId === undefined
      ? { kind: "unavailable", reason: "Stripe: refunded, by no refund that it names" }
      : { kind: "refunded", refundId };
  }

  /** @throws What is not an answer of Stripe. */
  function unavailable(cause: unknown, orderId: string): Unavailable {
    if (!(cause instanceof errors.StripeError)) throw cause;
    const { type, statusCode, code, param, requestId } = cause;
    const reason = ["Stripe:", type, statusCode, code].filter(Boolean).join(" ");
    if (!needsPerson(cause)) return { kind: "unavailable", reason };
    // Without Stripe's message, which repeats what was sent to it.
    log.error(
      { order_id: orderId, type, status: statusCode, code, param, request_id: requestId },
      "Stripe refuses what this service sends; a person has to mend it",
    );
    return { kind: "unavailable", reason, retryAfterMs: MISCONFIGURED_RETRY_MS };
  }

  return {
    name: "stripe",
    // A request that was sent is not broken off when the service stops: its answer may still be in time.
    async capture(request, { signal }) {
      signal.throwIfAborted();
      try {
        const captureId = request.askedBefore ? await findCapture(request.orderId) : undefined;
        return captureId === undefined ? await createCapture(request) : { kind: "captured", captureId };
      } catch (cause) {
        const code = declineCode(cause);
        return code === undefined ? unavailable(cause, request.orderId) : { kind: "declined", code };
      }
    },
    async refund(request, { signal }) {
      signal.throwIfAborted();
      try {
        return await createRefund(request).catch((cause) => {
          if (isAlreadyRefunded(cause)) return findRefund(request.captureId);
          throw cause;
        });
      } catch (cause) {
        return unavailable(cause, request.orderId);
      }
    },
  };
}

/** Why the customer cannot pay, or undefined if the fault is not the customer's. */
function declineCode(cause: unknown): string | undefined {
  if (cause instanceof errors.StripeCardError) return declined(cause);
  if (!(cause instanceof errors.StripeInvalidRequestError)) return undefined;
  if (cause.param === "payment_method") return cause.code ?? "invalid_token";
  return cause.code === "amount_too_small" || cause.code === "amount_too_large" ? cause.code : undefined;
}

function declined(error: { decline_code?: string; code?: string }): string {
  return error.decline_code || error.code || "card_declined";
}

/** Whether the same request will be refused again for as long as nobody does anything about it. */
function needsPerson(cause: Stripe.errors.StripeError): boolean {
  return (
    cause instanceof errors.StripeAuthenticationError ||
    cause instanceof errors.StripePermissionError ||
    cause instanceof errors.StripeInvalidRequestError ||
    cause instanceof errors.StripeIdempotencyError
  );
}

function isAlreadyRefunded(cause: unknown): boolean {
  return cause instanceof errors.StripeInvalidRequestError && cause.code === "charge_already_refunded";
}

/** @throws {StripeAPIError} If it is no list: what a proxy answers in Stripe's place is not "there is none". */
function firstId({ data }: { data?: { id: string }[] }): string | undefined {
  if (!Array.isArray(data)) throw new errors.StripeAPIError({ type: "api_error", message: "not a list" });
  return data[0]?.id;
}

function address(apiBase: string | undefined) {
  if (apiBase === undefined) return {};
  const { protocol, hostname, port } = new URL(apiBase);
  const secure = protocol === "https:";
  return {
    protocol: secure ? "https" : "http",
    host: hostname,
    port: port || (secure ? 443 : 80),
  } as const;
}
