import type { MessageShape } from "@bufbuild/protobuf";
import type { ChargePaymentSchema } from "../../gen/shop/checkout/v1/charge_payment_pb.ts";
import type { RefundPaymentSchema } from "../../gen/shop/checkout/v1/refund_payment_pb.ts";
import type { PaymentSchema } from "../../gen/shop/payment/v1/payment_pb.ts";
import {
  chargePayment,
  key,
  message,
  type Outgoing,
  payment,
  paymentCaptured,
  paymentDeclined,
  paymentRefunded,
  paymentVoided,
  refundPayment,
} from "../../nats/contracts/mod.ts";
import type { Handler, Outcome, View } from "../../nats/mod.ts";
import type { CaptureAnswer, CaptureRequest, Provider, RefundAnswer, RefundRequest } from "./provider.ts";

type Payment = MessageShape<typeof PaymentSchema>;
type Charge = MessageShape<typeof ChargePaymentSchema>;
type Refund = MessageShape<typeof RefundPaymentSchema>;

/** What the provider is asked for, any number of times. */
export type Effect = ({ kind: "capture" } & CaptureRequest) | ({ kind: "refund" } & RefundRequest);

/** What the provider said, and if it said nothing, when to ask again. */
export type Answer =
  | Exclude<CaptureAnswer | RefundAnswer, { kind: "unavailable" }>
  | { kind: "unavailable"; reason: string; delayMs: number };

export interface HandlerOptions {
  provider: Provider;
  /** How long to wait after so many tries, unless the provider says so itself. */
  backoffMs(tries: number): number;
}

export function handlers({ provider, backoffMs }: HandlerOptions) {
  const perform = async (
    effect: Effect,
    { signal, attempt }: { signal: AbortSignal; attempt: number },
  ): Promise<Answer> => {
    const answer = await (effect.kind === "capture"
      ? provider.capture(effect, { signal })
      : provider.refund(effect, { signal }));
    if (answer.kind !== "unavailable") return answer;
    return { kind: answer.kind, reason: answer.reason, delayMs: answer.retryAfterMs ?? backoffMs(attempt) };
  };
  const keys = ({ orderId }: Charge | Refund) => [key(payment, orderId)];
  return [
    { contract: chargePayment, keys, decide: decideCharge, perform, conclude: concludeCharge },
    { contract: refundPayment, keys, decide: decideRefund, perform, conclude: concludeRefund },
  ] as const satisfies readonly [
    Handler<typeof ChargePaymentSchema, Effect, Answer>,
    Handler<typeof RefundPaymentSchema, Effect, Answer>,
  ];
}

/**
 * Stores the intent before the provider is asked, so that a crash in between is seen by whoever comes next: a payment
 * that is `pending` is asked for again under the same key. Anything else was decided before, by a charge or a refund.
 */
export function decideCharge(view: View, command: Charge): Outcome<Effect> {
  const known = view.get(payment, command.orderId);
  if (known === undefined) {
    const { orderId, amountCents, currency, paymentToken } = command;
    const intent = message(payment, orderId, {
      orderId,
      status: "pending",
      amountCents,
      currency,
      paymentToken,
    });
    return { kind: "perform", messages: [intent], effect: capture(intent.value, { askedBefore: false }) };
  }
  if (known.status !== "pending") return nothing;
  return { kind: "perform", messages: [], effect: capture(known, { askedBefore: true }) };
}

export function concludeCharge(view: View, { orderId }: Charge, answer: Answer): Outcome<Effect> {
  const known = view.get(payment, orderId);
  // A refund asked the provider meanwhile and has drawn the conclusion.
  if (known?.status !== "pending") return nothing;
  switch (answer.kind) {
    case "captured":
      return { kind: "done", messages: captured(known, answer.captureId, { status: "captured" }) };
    case "declined":
      return {
        kind: "done",
        messages: [
          message(payment, orderId, {
            ...known,
            status: "declined",
            paymentToken: "",
            declineCode: answer.code,
          }),
          message(paymentDeclined, orderId, { orderId, declineCode: answer.code }),
        ],
      };
    case "unavailable":
      return retry(answer);
    case "refunded":
      throw new TypeError(
        `Cannot conclude the charge of ${JSON.stringify(orderId)}: it was asked to capture`,
      );
    default:
      return answer satisfies never;
  }
}

/**
 * Gives back what was captured. Where nothing was captured it makes sure that nothing ever will be: a charge that comes
 * later finds the payment `voided`. While a capture is pending nobody knows its outcome, so the provider is asked for
 * it again, and a capture that turns out to have happened is recorded like any other and then refunded.
 */
export function decideRefund(view: View, { orderId }: Refund): Outcome<Effect> {
  const known = view.get(payment, orderId);
  switch (known?.status) {
    case undefined:
    case "declined":
      return { kind: "done", messages: voided(orderId, known) };
    case "pending":
      return { kind: "perform", messages: [], effect: capture(known, { askedBefore: true }) };
    case "captured": {
      const refunding = message(payment, orderId, { ...known, status: "refunding" });
      return { kind: "perform", messages: [refunding], effect: refund(refunding.value) };
    }
    case "refunding":
      return { kind: "perform", messages: [], effect: refund(known) };
    case "refunded":
    case "voided":
      return nothing;
    default:
      throw new RangeError(`Cannot refund ${JSON.stringify(orderId)}: its status is ${known?.status}`);
  }
}

/** An answer counts only in the state that asked for it; in any other, someone was faster and the refund goes on there. */
export function concludeRefund(view: View, command: Refund, answer: Answer): Outcome<Effect> {
  const { orderId } = command;
  const known = view.get(payment, orderId);
  if (known?.status === "pending" && answer.kind === "captured") {
    const messages = captured(known, answer.captureId, { status: "refunding" });
    return { kind: "perform", messages, effect: refund({ ...known, captureId: answer.captureId }) };
  }
  if (known?.status === "pending" && answer.kind === "declined") {
    return { kind: "done", messages: voided(orderId, { ...known, declineCode: answer.code }) };
  }
  if (known?.status === "refunding" && answer.kind === "refunded") {
    const { refundId } = answer;
    const { capturedCents, currency } = known;
    return {
      kind: "done",
      messages: [
        message(payment, orderId, { ...known, status: "refunded", refundId, refundedCents: capturedCents }),
        message(paymentRefunded, orderId, { orderId, refundId, amountCents: capturedCents, currency }),
      ],
    };
  }
  const next = decideRefund(view, command);
  return answer.kind === "unavailable" && next.kind === "perform" ? retry(answer) : next;
}

const nothing: Outcome = { kind: "done", messages: [] };

function retry({ reason, delayMs }: { reason: string; delayMs: number }): Outcome {
  return { kind: "retry", reason, delayMs };
}

/** I4: one key for the capture of an order, whoever asks for it and however often. */
function capture(intent: Payment, { askedBefore }: { askedBefore: boolean }): Effect {
  const { orderId, amountCents, currency, paymentToken: token } = intent;
  const idempotencyKey = `${orderId}/capture`;
  return { kind: "capture", orderId, amountCents, currency, token, idempotencyKey, askedBefore };
}

/** The whole amount, which is what was captured. */
function refund({ orderId, captureId, amountCents, currency }: Payment): Effect {
  return {
    kind: "refund",
    orderId,
    captureId,
    amountCents,
    currency,
    idempotencyKey: `${orderId}/refund`,
  };
}

/** The token has done its work and is not carried on: a refund names the capture. */
function captured(
  intent: Payment,
  captureId: string,
  { status }: { status: "captured" | "refunding" },
): Outgoing[] {
  const { orderId, amountCents, currency } = intent;
  return [
    message(payment, orderId, {
      ...intent,
      status,
      paymentToken: "",
      captureId,
      capturedCents: amountCents,
    }),
    message(paymentCaptured, orderId, { orderId, captureId, amountCents, currency }),
  ];
}

function voided(orderId: string, known: Payment | undefined): Outgoing[] {
  return [
    message(payment, orderId, { ...(known ?? { orderId }), status: "voided", paymentToken: "" }),
    message(paymentVoided, orderId, { orderId }),
  ];
}
