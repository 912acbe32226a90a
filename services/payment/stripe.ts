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
import { toStripeAmount } from "./stripe_amount.ts";
import {
  codeOf,
  declineCode,
  declined,
  hasMovedOn,
  isAlreadyRefunded,
  isInvalid,
  isMismatch,
  isRefundImpossible,
  listOf,
  needsPerson,
  objectOf,
} from "./stripe_errors.ts";

type Intent = Stripe.PaymentIntent;
/** A capture with its amount in Stripe's units. */
type Charge = CaptureRequest & { readonly amount: number };

export interface StripeOptions {
  secretKey: string;
  /** Protocol, host and port of the API. Default: Stripe's. */
  apiBase?: string | undefined;
  /** How long one request may be without an answer. Default 10,000: Stripe waits for the card's bank. */
  timeoutMs?: number;
  log: Log;
}

/** What only a person can mend is tried a few times within the 30 s that a checkout gives its charge, and no oftener. */
const MISCONFIGURED_RETRY_MS = 10_000;
/** A refund that is pending takes minutes at least, and may take days. */
const MIN_REFUND_POLL_MS = 60_000;
/** Found at once. There is one PaymentIntent for an order, and one refund, unless a person made more. */
const FIND_LIMIT = 100;

/**
 * Captures with PaymentIntents, confirmed in the request that creates them. A token is the id of a PaymentMethod.
 *
 * Only what the customer can do something about is `declined`: the card, an unknown payment method, an amount that
 * cannot be charged, a bank that wants the customer to authenticate (nobody is there to do so). A request that Stripe
 * refuses to begin with is this shop's fault: `refused`, with an error in the log. A wrong API key, a missing
 * permission, or a key that was used for another request say nothing about the capture: `unavailable`, loudly as well.
 *
 * I4 rests on the idempotency key for a day: Stripe forgets keys after 24 hours, and until then repeats its first
 * answer, even a 500 (https://docs.stripe.com/api/idempotent_requests). So a capture that may have been asked for
 * before is searched for by its order first. The search lags by minutes at most, when the key still protects.
 *
 * A refund is `refunded` once it has succeeded, and `unavailable` while it is pending. One that has failed, or that Stripe will
 * not make, is `refund_refused`.
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

  async function create(request: Charge, { confirm }: { confirm: boolean }): Promise<Intent> {
    const intent = await client.paymentIntents.create(
      {
        amount: request.amount,
        currency: request.currency.toLowerCase(),
        confirm,
        payment_method: request.token,
        automatic_payment_methods: { enabled: true, allow_redirects: "never" },
        // What is never confirmed is not to be found as the order's.
        metadata: confirm ? { order_id: request.orderId } : { unpaid_order_id: request.orderId },
      },
      { idempotencyKey: request.idempotencyKey },
    );
    return objectOf(intent);
  }

  /** As it is now: a repeated answer is as old as the first request. */
  async function current(intent: Intent): Promise<Intent> {
    return intent.status === "succeeded" ? intent : objectOf(await client.paymentIntents.retrieve(intent.id));
  }

  /** Has no key: it is the same however often it is asked. */
  async function cancel({ id }: Intent): Promise<Intent> {
    const cancelled = await client.paymentIntents.cancel(id).catch((cause) => {
      if (hasMovedOn(cause)) return client.paymentIntents.retrieve(id);
      throw cause;
    });
    return objectOf(cancelled);
  }

  /** What a confirmed intent means, for good. One that waits for the customer would capture later, so it is closed. */
  async function settle(confirmed: Intent, request: CaptureRequest): Promise<CaptureAnswer> {
    const waits = confirmed.status === "requires_action" || confirmed.status === "requires_confirmation";
    const intent = waits ? await cancel(confirmed) : confirmed;
    const { id, status, amount } = intent;
    const { orderId, amountCents, currency } = request;
    switch (status) {
      case "succeeded":
        if (amount === toStripeAmount(amountCents, currency)) return { kind: "captured", captureId: id };
        log.error({ order_id: orderId, capture_id: id, amount }, "another amount was captured for the order");
        return misconfigured("Stripe: another amount was captured");
      case "requires_payment_method":
        return { kind: "declined", code: declined(intent.last_payment_error ?? {}) };
      case "canceled":
        // By the above, now or before.
        return {
          kind: "declined",
          code: declined(intent.last_payment_error ?? { code: "authentication_required" }),
        };
      default:
        return { kind: "unavailable", reason: `Stripe: the payment is ${status}` };
    }
  }

  async function find(request: CaptureRequest): Promise<CaptureAnswer | undefined> {
    const query = `metadata["order_id"]:${JSON.stringify(request.orderId)}`;
    let found: CaptureAnswer | undefined;
    for (const intent of listOf(await client.paymentIntents.search({ query, limit: FIND_LIMIT }))) {
      const answer = await settle(await current(intent), request);
      if (answer.kind !== "declined") return answer;
      found ??= answer;
    }
    return found;
  }

  /**
   * Has the capture made, or hears again what became of it. A refusal proves that nothing was captured: the key would
   * have repeated the capture, or the search found it.
   */
  async function ask(request: Charge): Promise<CaptureAnswer> {
    let intent: Intent;
    try {
      intent = await create(request, { confirm: true });
    } catch (cause) {
      const code = declineCode(cause);
      if (code !== undefined) return { kind: "declined", code };
      if (!isInvalid(cause)) throw cause;
      complain(cause, request.orderId);
      return { kind: "refused", code: codeOf(cause), retryAfterMs: MISCONFIGURED_RETRY_MS };
    }
    return settle(await current(intent), request);
  }

  /**
   * Hears what became of a capture without making one (ADR 6). An intent that is not to be confirmed is created under the
   * capture's own key. If that succeeds, the key was free: nothing was captured, and a capture that is still on its way
   * will find the key taken. If the key was used, Stripe says so, and asking again repeats its answer.
   */
  async function learn(request: Charge): Promise<CaptureAnswer> {
    let unconfirmed: Intent | undefined;
    let refusal: string | undefined;
    try {
      unconfirmed = await create(request, { confirm: false });
    } catch (cause) {
      if (isInvalid(cause)) refusal = codeOf(cause);
      else if (!isMismatch(cause)) throw cause;
    }
    if (unconfirmed !== undefined) {
      const { status } = await cancel(unconfirmed);
      return status === "canceled"
        ? { kind: "refused", code: "never asked" }
        : { kind: "unavailable", reason: `Stripe: the unconfirmed payment is ${status}` };
    }
    try {
      return await ask(request);
    } catch (cause) {
      // The key was free until that refusal took it.
      if (refusal !== undefined && isMismatch(cause)) return { kind: "refused", code: refusal };
      throw cause;
    }
  }

  async function createRefund(request: RefundRequest): Promise<RefundAnswer> {
    const refund = await client.refunds
      .create(
        { payment_intent: request.captureId, metadata: { order_id: request.orderId } },
        { idempotencyKey: request.idempotencyKey },
      )
      .catch((cause) => {
        if (isAlreadyRefunded(cause)) return undefined;
        if (!isRefundImpossible(cause)) throw cause;
        return { refused: codeOf(cause) };
      });
    if (refund !== undefined && "refused" in refund) return refuse(request.orderId, refund.refused);
    return refund?.status === "succeeded" ? { kind: "refunded", refundId: refund.id } : findRefund(request);
  }

  /** A capture is refunded as a whole. A repeated answer is old, and after the key is forgotten there is none. */
  async function findRefund(request: RefundRequest): Promise<RefundAnswer> {
    const { orderId, captureId, amountCents, currency } = request;
    const found = listOf(await client.refunds.list({ payment_intent: captureId, limit: FIND_LIMIT }));
    const succeeded = found.filter(({ status }) => status === "succeeded");
    const refunded = succeeded.reduce((sum, { amount }) => sum + amount, 0);
    const captured = toStripeAmount(amountCents, currency);
    const [last] = succeeded;
    if (last !== undefined && captured !== undefined && refunded >= captured)
      return { kind: "refunded", refundId: last.id };
    const waiting = found.find(({ status }) => status === "pending" || status === "requires_action");
    const refund = waiting ?? found[0];
    if (refund === undefined) return refuse(orderId, "Stripe: refunded, by no refund that it names");
    const { status, failure_reason: why } = refund;
    if (waiting === undefined) {
      const code = refunded > 0 ? `${refunded} of ${captured} are refunded` : `the refund is ${status}`;
      return refuse(orderId, `Stripe: ${code}${why ? `, ${why}` : ""}`);
    }
    return {
      kind: "unavailable",
      reason: `Stripe: the refund is ${status}`,
      retryAfterMs: MIN_REFUND_POLL_MS,
    };
  }

  function refuse(orderId: string, code: string): RefundAnswer {
    log.error({ order_id: orderId, code }, "a refund will not succeed; a person has to settle it");
    return { kind: "refund_refused", code };
  }

  /** Stripe is not asked for another amount than the order's. It would take this one at no time, so that the order ends. */
  function unchargeable({ orderId, amountCents, currency }: CaptureRequest): CaptureAnswer {
    log.error(
      { order_id: orderId, amount_cents: String(amountCents), currency },
      "Stripe takes no such amount; a person has to mend the price",
    );
    return { kind: "declined", code: "amount_not_chargeable" };
  }

  /** @throws What is not an answer of Stripe. */
  function unavailable(cause: unknown, orderId: string): Unavailable {
    if (!(cause instanceof Stripe.errors.StripeError)) throw cause;
    if (!needsPerson(cause)) return { kind: "unavailable", reason: codeOf(cause) };
    complain(cause, orderId);
    return misconfigured(codeOf(cause));
  }

  /** Without Stripe's message, which repeats what was sent to it. */
  function complain(cause: Stripe.errors.StripeError, orderId: string): void {
    const { type, statusCode: status, code, param, requestId: request_id } = cause;
    log.error(
      { order_id: orderId, type, status, code, param, request_id },
      "Stripe refuses what this service sends; a person has to mend it",
    );
  }

  return {
    name: "stripe",
    // A request that was sent is not broken off when the service stops: its answer may still be in time.
    async capture(request, { signal }) {
      signal.throwIfAborted();
      try {
        const found = request.askedBefore ? await find(request) : undefined;
        if (found !== undefined) return found;
        const amount = toStripeAmount(request.amountCents, request.currency);
        if (amount === undefined) return unchargeable(request);
        const charge = { ...request, amount };
        return await (request.learnOnly ? learn(charge) : ask(charge));
      } catch (cause) {
        return unavailable(cause, request.orderId);
      }
    },
    async refund(request, { signal }) {
      signal.throwIfAborted();
      try {
        return await createRefund(request);
      } catch (cause) {
        return unavailable(cause, request.orderId);
      }
    },
  };
}

function misconfigured(reason: string): Unavailable {
  return { kind: "unavailable", reason, retryAfterMs: MISCONFIGURED_RETRY_MS };
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
