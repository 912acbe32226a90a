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
import type {
  CaptureAnswer,
  CaptureRequest,
  Provider,
  RefundAnswer,
  RefundRequest,
  Refused,
  Unavailable,
} from "./provider.ts";

type Payment = MessageShape<typeof PaymentSchema>;
type Charge = MessageShape<typeof ChargePaymentSchema>;
type Refund = MessageShape<typeof RefundPaymentSchema>;

/** What the provider is asked for, any number of times. A charge captures; a refund may have to learn of a capture first. */
export type CaptureEffect = { kind: "capture" } & CaptureRequest;
export type RefundEffect = { kind: "refund" } & RefundRequest;
export type Effect = CaptureEffect | RefundEffect;

type AskAgain = Unavailable | Refused;
/** What the provider said, and where it may say something else later, when to ask again. */
type Timed<A> = Exclude<A, AskAgain> | (Extract<A, AskAgain> & { delayMs: number });
export type CaptureResult = Timed<CaptureAnswer>;
export type RefundResult = Timed<RefundAnswer>;
export type Answer = CaptureResult | RefundResult;

interface Options {
  signal: AbortSignal;
  attempt: number;
}

export interface HandlerOptions {
  provider: Provider;
  /** How long to wait after so many tries, unless the provider says so itself. */
  backoffMs(tries: number): number;
}

export function handlers({ provider, backoffMs }: HandlerOptions) {
  const timed = <A extends AskAgain>(answer: A, attempt: number) => {
    return { ...answer, delayMs: answer.retryAfterMs ?? backoffMs(attempt) };
  };
  const askCapture = async (effect: CaptureEffect, { signal, attempt }: Options): Promise<CaptureResult> => {
    const answer = await provider.capture(effect, { signal });
    return answer.kind === "captured" || answer.kind === "declined" ? answer : timed(answer, attempt);
  };
  const askRefund = async (effect: RefundEffect, { signal, attempt }: Options): Promise<RefundResult> => {
    const answer = await provider.refund(effect, { signal });
    return answer.kind === "refunded" ? answer : timed(answer, attempt);
  };
  const ask = (effect: Effect, options: Options): Promise<Answer> =>
    effect.kind === "capture" ? askCapture(effect, options) : askRefund(effect, options);
  // The provider's name and no secret: who reads traces need not know more.
  const describe = ({ kind, orderId }: Effect) => ({
    name: `${kind} payment`,
    attributes: { "peer.service": provider.name, "shop.order_id": orderId },
  });
  const keys = ({ orderId }: Charge | Refund) => [key(payment, orderId)];
  return [
    {
      contract: chargePayment,
      keys,
      begins: keys,
      decide: decideCharge,
      perform: askCapture,
      describe,
      conclude: concludeCharge,
    },
    { contract: refundPayment, keys, decide: decideRefund, perform: ask, describe, conclude: concludeRefund },
  ] as const satisfies readonly [
    Handler<typeof ChargePaymentSchema, CaptureEffect, CaptureResult>,
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
  answer: CaptureResult,
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
      return retry(answer);
    case "refused":
      // Someone may mend it in time. If nobody does, the checkout's deadline asks for a refund, and that ends it.
      return retry({ reason: `refused: ${answer.code}`, delayMs: answer.delayMs });
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
  return answer.kind === "unavailable" && next.kind === "perform" ? retry(answer) : next;
}

const nothing: Outcome = { kind: "done", messages: [] };

function retry({ reason, delayMs }: { reason: string; delayMs: number }): Outcome {
  return { kind: "retry", reason, delayMs };
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
