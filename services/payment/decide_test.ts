import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ChargePaymentSchema } from "../../gen/shop/checkout/v1/charge_payment_pb.ts";
import { RefundPaymentSchema } from "../../gen/shop/checkout/v1/refund_payment_pb.ts";
import { message, payment } from "../../nats/contracts/mod.ts";
import type { AnyHandler, Outcome } from "../../nats/mod.ts";
import { firstDelivery, MemoryView } from "../../test/support/mod.ts";
import { type Answer, type Effect, handlers, MAX_AGE_MS } from "./decide.ts";
import type { CaptureAnswer, Provider } from "./provider.ts";

/** The decisions below are made without a provider: whoever asks it fails. */
const nobody: Provider = {
  name: "nobody",
  capture: () => Promise.reject(new Error("nobody to capture")),
  refund: () => Promise.reject(new Error("nobody to refund")),
};
const [charge, refund] = handlers({ provider: nobody });

const chargeCommand = create(ChargePaymentSchema, {
  orderId: "o1",
  amountCents: 2_400n,
  currency: "EUR",
  paymentToken: "tok_visa",
});
const refundCommand = create(RefundPaymentSchema, { orderId: "o1", reason: "timed_out" });

const statuses = ["none", "pending", "captured", "declined", "refunding", "refunded", "voided"] as const;
type Status = (typeof statuses)[number];

/** A payment as its history would have left it. */
function paymentThatIs(status: Status): MemoryView {
  const view = new MemoryView();
  if (status === "none") return view;
  const intent = { orderId: "o1", status, amountCents: 2_400n, currency: "EUR" };
  const captured = { ...intent, captureId: "ch_1", capturedCents: 2_400n };
  const refunded = { ...captured, refundId: "re_1", refundedCents: 2_400n };
  const states = {
    pending: { ...intent, paymentToken: "tok_visa" },
    captured,
    declined: { ...intent, declineCode: "card_declined" },
    refunding: captured,
    refunded,
    voided: { orderId: "o1", status },
  };
  view.store([message(payment, "o1", states[status])]);
  view.log.length = 0;
  return view;
}

/** What a step did, in one line: the outcome, what is asked of the provider, the state after it, the events. */
function summary(view: MemoryView, outcome: Outcome<Effect>): string {
  const messages = "messages" in outcome ? outcome.messages : [];
  view.store(messages);
  const events = messages
    .map(({ contract }) => contract.subject)
    .filter((subject) => subject !== "payment.payment");
  const asked = outcome.kind === "perform" ? [outcome.effect.kind, outcome.effect.idempotencyKey] : [];
  return [outcome.kind, ...asked, "→", view.get(payment, "o1")?.status ?? "none", ...events].join(" ");
}

function decide(view: MemoryView, handler: AnyHandler, command: object): string {
  return summary(view, handler.decide(view, command as never, firstDelivery) as Outcome<Effect>);
}

function conclude(view: MemoryView, handler: AnyHandler, command: object, answer: Answer): string {
  const outcome = handler.conclude?.(view, command as never, answer, firstDelivery);
  return summary(view, outcome as Outcome<Effect>);
}

const captured: CaptureAnswer = { kind: "captured", captureId: "ch_1" };
const declined: CaptureAnswer = { kind: "declined", code: "card_declined" };
const refused: CaptureAnswer = { kind: "refused", code: "no such currency", retryAfterMs: 500 };
const refunded: Answer = { kind: "refunded", refundId: "re_1" };
const unavailable: CaptureAnswer = { kind: "unavailable", reason: "down", retryAfterMs: 700 };
const refundRefused: Answer = { kind: "refund_refused", code: "charge_disputed" };
const answers = { captured, declined, refused, refunded, refund_refused: refundRefused, unavailable };

describe("decideCharge()", () => {
  const table: Record<Status, string> = {
    none: "perform capture o1/capture → pending",
    pending: "perform capture o1/capture → pending",
    captured: "done → captured",
    declined: "done → declined",
    refunding: "done → refunding",
    refunded: "done → refunded",
    voided: "done → voided",
  };
  it.each(statuses)("of a payment that is %s", (status) => {
    expect(decide(paymentThatIs(status), charge, chargeCommand)).toBe(table[status]);
  });

  it("stores what it is going to ask for before it asks", () => {
    const { outcome } = new MemoryView().handle(charge, chargeCommand);
    expect(outcome).toMatchObject({
      messages: [{ value: { status: "pending", amountCents: 2_400n, paymentToken: "tok_visa" } }],
      effect: {
        amountCents: 2_400n,
        currency: "EUR",
        token: "tok_visa",
        askedBefore: false,
        learnOnly: false,
      },
    });
  });

  it("asks for what is stored, and says that it may have asked before, when a crash left a payment pending", () => {
    const view = paymentThatIs("pending");
    const { outcome } = view.handle(
      charge,
      create(ChargePaymentSchema, { orderId: "o1", amountCents: 1n, currency: "USD", paymentToken: "other" }),
    );
    expect(outcome).toMatchObject({
      messages: [],
      effect: { amountCents: 2_400n, token: "tok_visa", askedBefore: true, learnOnly: false },
    });
  });
});

describe("concludeCharge()", () => {
  const whenPending: Record<CaptureAnswer["kind"], string> = {
    captured: "done → captured payment.captured",
    declined: "done → declined payment.declined",
    refused: "wait → pending",
    unavailable: "wait → pending",
  };
  for (const status of statuses.filter((status) => status !== "none")) {
    it.each(["captured", "declined", "refused", "unavailable"] as const)(
      `of a payment that is ${status}: %s`,
      (kind) => {
        const wanted = status === "pending" ? whenPending[kind] : `done → ${status}`;
        expect(conclude(paymentThatIs(status), charge, chargeCommand, answers[kind])).toBe(wanted);
      },
    );
  }

  it("keeps the facts of the capture and drops the token", () => {
    const view = paymentThatIs("pending");
    conclude(view, charge, chargeCommand, captured);
    expect(view.get(payment, "o1")).toMatchObject({
      captureId: "ch_1",
      capturedCents: 2_400n,
      paymentToken: "",
    });
    expect(view.log.at(-1)?.value).toMatchObject({ captureId: "ch_1", amountCents: 2_400n, currency: "EUR" });
  });

  it("says why it was declined", () => {
    const view = paymentThatIs("pending");
    conclude(view, charge, chargeCommand, declined);
    expect(view.get(payment, "o1")).toMatchObject({
      declineCode: "card_declined",
      capturedCents: 0n,
      paymentToken: "",
    });
    expect(view.log.at(-1)?.value).toMatchObject({ declineCode: "card_declined" });
  });

  it("waits for a provider that may be back", () => {
    const view = paymentThatIs("pending");
    const outcome = charge.conclude(view, chargeCommand, unavailable);
    expect(outcome).toEqual({ kind: "wait", notBeforeMs: 700, reason: "down" });
  });

  it("waits when it was refused, in case that someone mends it in time", () => {
    const outcome = charge.conclude(paymentThatIs("pending"), chargeCommand, refused);
    expect(outcome).toEqual({ kind: "wait", notBeforeMs: 500, reason: "refused: no such currency" });
  });

  it("cannot be given the answer to a refund", () => {
    // @ts-expect-error: a charge asks for captures only.
    const given: Parameters<typeof charge.conclude>[2] = { kind: "refunded", refundId: "re_1" };
    expect(given.kind).toBe("refunded");
  });
});

describe("decideRefund()", () => {
  const table: Record<Status, string> = {
    none: "done → voided payment.voided",
    pending: "perform capture o1/capture → pending",
    captured: "perform refund o1/refund → refunding",
    declined: "done → voided payment.voided",
    refunding: "perform refund o1/refund → refunding",
    refunded: "done → refunded",
    voided: "done → voided",
  };
  it.each(statuses)("of a payment that is %s", (status) => {
    expect(decide(paymentThatIs(status), refund, refundCommand)).toBe(table[status]);
  });

  it("wants to learn of a pending capture, not to make one", () => {
    const { outcome } = paymentThatIs("pending").handle(refund, refundCommand);
    expect(outcome).toMatchObject({ effect: { token: "tok_visa", askedBefore: true, learnOnly: true } });
  });

  it("throws on a status that it does not know, rather than guess", () => {
    const view = new MemoryView().store([message(payment, "o1", { orderId: "o1", status: "lost" })]);
    expect(() => decide(view, refund, refundCommand)).toThrow('Cannot refund "o1": its status is lost');
  });
});

describe("concludeRefund()", () => {
  /** The rows that can happen: an answer comes to the state that asked for it or to one that others made of it. */
  const table: [Status, Answer["kind"], string][] = [
    ["pending", "captured", "perform refund o1/refund → refunding payment.captured"],
    ["pending", "declined", "done → voided payment.voided"],
    ["pending", "refused", "done → voided payment.voided"],
    ["pending", "unavailable", "wait → pending"],
    ["captured", "captured", "perform refund o1/refund → refunding"],
    ["captured", "unavailable", "wait → captured"],
    ["declined", "declined", "done → voided payment.voided"],
    ["declined", "refused", "done → voided payment.voided"],
    ["declined", "unavailable", "done → voided payment.voided"],
    ["refunding", "captured", "perform refund o1/refund → refunding"],
    ["refunding", "refunded", "done → refunded payment.refunded"],
    ["refunding", "unavailable", "wait → refunding"],
    ["refunding", "refund_refused", "done → refunding payment.refund_refused"],
    ["refunded", "refund_refused", "done → refunded"],
    ["refunded", "captured", "done → refunded"],
    ["refunded", "refunded", "done → refunded"],
    ["refunded", "unavailable", "done → refunded"],
    ["voided", "declined", "done → voided"],
    ["voided", "refused", "done → voided"],
    ["voided", "unavailable", "done → voided"],
  ];
  it.each(table)("of a payment that is %s: %s", (status, kind, wanted) => {
    expect(conclude(paymentThatIs(status), refund, refundCommand, answers[kind])).toBe(wanted);
  });

  it("gives back what was captured, to the cent", () => {
    const view = paymentThatIs("refunding");
    conclude(view, refund, refundCommand, refunded);
    expect(view.get(payment, "o1")).toMatchObject({ refundId: "re_1", refundedCents: 2_400n });
    expect(view.log.at(-1)?.value).toMatchObject({ refundId: "re_1", amountCents: 2_400n, currency: "EUR" });
  });

  it("asks the provider no more for what it refuses for good", () => {
    const view = paymentThatIs("refunding");
    conclude(view, refund, refundCommand, refundRefused);
    expect(view.get(payment, "o1")).toMatchObject({ refundRefused: "charge_disputed", refundedCents: 0n });
    expect(decide(view, refund, refundCommand)).toBe("done → refunding");
  });

  it("leaves to a person what was not refunded in a week", () => {
    const view = paymentThatIs("refunding");
    const firstTriedAt = new Date(firstDelivery.now.getTime() - MAX_AGE_MS);
    const outcome = refund.conclude(view, refundCommand, unavailable, { ...firstDelivery, firstTriedAt });
    expect(summary(view, outcome)).toBe("done → refunding payment.refund_refused");
    expect(view.get(payment, "o1")?.refundRefused).toBe("not refunded in a week: down");
  });

  it("records a late capture before it asks for the refund of it", () => {
    const view = paymentThatIs("pending");
    const outcome = refund.conclude(view, refundCommand, captured, firstDelivery);
    expect(outcome).toMatchObject({ effect: { captureId: "ch_1", amountCents: 2_400n, currency: "EUR" } });
    view.store("messages" in outcome ? outcome.messages : []);
    expect(view.get(payment, "o1")).toMatchObject({
      captureId: "ch_1",
      capturedCents: 2_400n,
      paymentToken: "",
    });
  });
});

describe("charge and refund", () => {
  it("capture nothing when the refund comes first", () => {
    const view = new MemoryView();
    decide(view, refund, refundCommand);
    expect(decide(view, charge, chargeCommand)).toBe("done → voided");
    expect(view.subjects).toEqual(["payment.payment.o1", "payment.voided.o1"]);
  });

  it("tell of each step once when the refund overtakes a charge whose answer is late", () => {
    const view = new MemoryView();
    decide(view, charge, chargeCommand);
    decide(view, refund, refundCommand);
    conclude(view, refund, refundCommand, captured);
    expect(conclude(view, charge, chargeCommand, captured)).toBe("done → refunding");
    conclude(view, refund, refundCommand, refunded);
    expect(decide(view, charge, chargeCommand)).toBe("done → refunded");
    expect(decide(view, refund, refundCommand)).toBe("done → refunded");
    expect(view.subjects.filter((subject) => !subject.startsWith("payment.payment."))).toEqual([
      "payment.captured.o1",
      "payment.refunded.o1",
    ]);
  });
});
