import type { MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
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
  paymentWaiting,
  paymentWaitingDue,
  paymentWaitingTimer,
  refundPayment,
  refundRefused,
} from "../../nats/contracts/mod.ts";
import type { Delivery, Handler, Outcome, Patience, View, WaitingContracts } from "../../nats/mod.ts";
import type { CaptureAnswer, CaptureRequest, Provider, RefundAnswer, RefundRequest } from "./provider.ts";

export type Payment = MessageShape<typeof PaymentSchema>;
type Charge = MessageShape<typeof ChargePaymentSchema>;
type Refund = MessageShape<typeof RefundPaymentSchema>;

/** What the provider is asked for, any number of times. A charge captures; a refund may have to learn of a capture first. */
export type CaptureEffect = { kind: "capture" } & CaptureRequest;
export type RefundEffect = { kind: "refund" } & RefundRequest;
export type Effect = CaptureEffect | RefundEffect;

export type Answer = CaptureAnswer | RefundAnswer;

const SECOND_MS = 1_000;
const HOUR_MS = 3_600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;
/** After which a person has to see to a refund that the provider has not made, or to a capture of which nobody knows. */
export const MAX_AGE_MS = 7 * DAY_MS;

/**
 * A customer waits for a charge, and a checkout for half a minute, in which there are about five tries. Then it asks for a refund,
 * which ends it.
 */
const CAPTURE_PATIENCE: Patience = {
  firstMs: SECOND_MS / 2,
  maxMs: 10 * SECOND_MS,
  maxAgeMs: MAX_AGE_MS,
};
/** A refund takes a provider seconds, or days. The coordinator asks again while one waits. */
const REFUND_PATIENCE: Patience = {
  firstMs: SECOND_MS,
  maxMs: 6 * HOUR_MS,
  maxAgeMs: MAX_AGE_MS,
  perSecond: 50,
  repeats: true,
};
/** A quarter of what a consumer delivers at a time: charges, for which customers wait, always have places. */
const MAX_REFUNDS = 250;

/** Where commands wait for the provider. */
export const waiting: WaitingContracts = {
  state: paymentWaiting,
  timer: paymentWaitingTimer,
  due: paymentWaitingDue,
};

export function handlers({ provider }: { provider: Provider }) {
  const askCapture = (effect: CaptureEffect, options: { signal: AbortSignal }): Promise<CaptureAnswer> =>
    provider.capture(effect, options);
  const ask = (effect: Effect, options: { signal: AbortSignal }): Promise<Answer> =>
    effect.kind === "capture" ? askCapture(effect, options) : provider.refund(effect, options);
  // The provider's name and no secret: who reads traces need not know more.
  const describe = ({ kind, orderId }: Effect) => ({
    name: `${kind} payment`,
    attributes: { "peer.service": provider.name, "shop.order_id": orderId },
  });
  const keys = ({ orderId }: Charge | Refund) => [key(payment, orderId)];
  return [
    {
      contract: chargePayment,
      patience: CAPTURE_PATIENCE,
      keys,
      begins: keys,
      decide: decideCharge,
      perform: askCapture,
      describe,
      conclude: concludeCharge,
    },
    {
      contract: refundPayment,
      patience: REFUND_PATIENCE,
      maxEffects: MAX_REFUNDS,
      keys,
      decide: decideRefund,
      perform: ask,
      describe,
      conclude: concludeRefund,
    },
  ] as const satisfies readonly [
    Handler<typeof ChargePaymentSchema, CaptureEffect, CaptureAnswer>,
    Handler<typeof RefundPaymentSchema, Effect, Answer>,
  ];
}

/**
 * Stores the intent before the provider is asked, so that a crash in between is seen by whoever comes next: a payment
 * that is `pending` is asked for again under the same key. Anything else was decided before, by a charge or a refund.
 */
export function decideCharge(view: View, command: Charge): Outcome<CaptureEffect> {
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
    return { kind: "perform", messages: [intent], effect: capture(intent.value, first) };
  }
  if (known.status !== "pending") return nothing;
  return { kind: "perform", messages: [], effect: capture(known, again) };
}

export function concludeCharge(
  view: View,
  { orderId }: Charge,
  answer: CaptureAnswer,
): Outcome<CaptureEffect> {
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
      return wait(answer);
    case "refused":
      // Someone may mend it in time. If nobody does, the checkout's deadline asks for a refund, and that ends it.
      return wait({ reason: `refused: ${answer.code}`, retryAfterMs: answer.retryAfterMs });
    default:
      return answer satisfies never;
  }
}

/**
 * Gives back what was captured. Where nothing was captured it makes sure that nothing ever will be: a charge that comes
 * later finds the payment `voided`. While a capture is pending nobody knows its outcome, so the provider is asked what
 * became of it (ADR 6), and a capture that turns out to have happened is recorded like any other and then refunded.
 */
export function decideRefund(view: View, { orderId }: Refund): Outcome<Effect> {
  const known = view.get(payment, orderId);
  switch (known?.status) {
    case undefined:
    case "declined":
      return { kind: "done", messages: voided(orderId, known) };
    case "pending":
      return { kind: "perform", messages: [], effect: capture(known, learn) };
    case "captured": {
      const refunding = message(payment, orderId, { ...known, status: "refunding" });
      return { kind: "perform", messages: [refunding], effect: refund(refunding.value) };
    }
    case "refunding":
      // What the provider refuses for good is a person's to settle.
      if (known.refundRefused !== "") return nothing;
      return { kind: "perform", messages: [], effect: refund(known) };
    case "refunded":
    case "voided":
      return nothing;
    default:
      throw new RangeError(`Cannot refund ${JSON.stringify(orderId)}: its status is ${known?.status}`);
  }
}

/** An answer counts only in the state that asked for it; in any other, someone was faster and the refund goes on there. */
export function concludeRefund(
  view: View,
  command: Refund,
  answer: Answer,
  { now, firstTriedAt = now }: Pick<Delivery, "now" | "firstTriedAt">,
): Outcome<Effect> {
  const { orderId } = command;
  const known = view.get(payment, orderId);
  if (known?.status === "pending" && answer.kind === "captured") {
    const messages = captured(known, answer.captureId, { status: "refunding" });
    return { kind: "perform", messages, effect: refund({ ...known, captureId: answer.captureId }) };
  }
  if (known?.status === "pending" && answer.kind === "declined") {
    return { kind: "done", messages: voided(orderId, { ...known, declineCode: answer.code }) };
  }
  if (known?.status === "pending" && answer.kind === "refused") {
    return { kind: "done", messages: voided(orderId, known) };
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
  if (next.kind !== "perform") return next;
  if (known?.status === "refunding" && answer.kind === "refund_refused")
    return refuse(known, answer.code, now);
  if (answer.kind !== "unavailable") return next;
  const isOld = now.getTime() - firstTriedAt.getTime() >= MAX_AGE_MS;
  return known?.status === "refunding" && isOld
    ? refuse(known, `not refunded in a week: ${answer.reason}`, now)
    : wait(answer);
}

/** Nothing is asked of the provider any more: a person has to settle it. */
function refuse(known: Payment, code: string, now: Date): Outcome {
  const refused = { ...known, refundRefused: code, refundRefusedAt: timestampFromDate(now) };
  const { orderId } = known;
  return {
    kind: "done",
    messages: [
      message(payment, orderId, refused),
      message(refundRefused, orderId, {
        orderId,
        code,
        amountCents: known.capturedCents,
        currency: known.currency,
      }),
    ],
  };
}

const nothing: Outcome = { kind: "done", messages: [] };

function wait({ reason, retryAfterMs }: { reason: string; retryAfterMs?: number | undefined }): Outcome {
  return { kind: "wait", reason, notBeforeMs: retryAfterMs };
}

/** I4: one key for the capture of an order, whoever asks for it and however often. */
function capture(intent: Payment, why: Pick<CaptureRequest, "askedBefore" | "learnOnly">): CaptureEffect {
  const { orderId, amountCents, currency, paymentToken: token } = intent;
  const idempotencyKey = `${orderId}/capture`;
  return { kind: "capture", orderId, amountCents, currency, token, idempotencyKey, ...why };
}

const first = { askedBefore: false, learnOnly: false };
const again = { askedBefore: true, learnOnly: false };
const learn = { askedBefore: true, learnOnly: true };

/** The whole amount, which is what was captured. */
function refund({ orderId, captureId, amountCents, currency }: Payment): RefundEffect {
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
