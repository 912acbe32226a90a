import { create, type Message } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { CheckoutCancelledSchema } from "../../gen/shop/checkout/v1/checkout_cancelled_pb.ts";
import { CheckoutCompletedSchema } from "../../gen/shop/checkout/v1/checkout_completed_pb.ts";
import { OrderCreatedSchema } from "../../gen/shop/order/v1/order_created_pb.ts";
import { mail } from "../../nats/contracts/mod.ts";
import type { AnyHandler, Outcome } from "../../nats/mod.ts";
import { firstDelivery, MemoryView } from "../../test/support/mod.ts";
import { handlers } from "./decide.ts";
import type { Letter, SendResult } from "./mailer.ts";
import { anOrder, type Order } from "./test_support.ts";

const mailer = {
  send: async (): Promise<SendResult> => {
    throw new Error("a decision sends nothing");
  },
};
const [received, completed, cancelled] = handlers({ mailer });

const cases: [kind: string, handler: AnyHandler, event: (order?: Order) => Message, subject: string][] = [
  [
    "order_received",
    received,
    (order) => create(OrderCreatedSchema, order && { order }),
    "We have your order o1",
  ],
  [
    "order_completed",
    completed,
    (order) => create(CheckoutCompletedSchema, order && { order }),
    "Your order o1 is on its way",
  ],
  [
    "order_cancelled",
    cancelled,
    (order) => create(CheckoutCancelledSchema, { reason: "out_of_stock", ...(order && { order }) }),
    "Your order o1 is cancelled",
  ],
];

function letterOf(outcome: Outcome<unknown>): Letter {
  if (outcome.kind !== "perform") throw new Error(`no letter: ${outcome.kind}`);
  return outcome.effect as Letter;
}

function conclude(view: MemoryView, handler: AnyHandler, event: Message, result: SendResult): Outcome {
  const outcome = handler.conclude?.(view, event, result, firstDelivery) as Outcome;
  if ("messages" in outcome) view.store(outcome.messages);
  return outcome;
}

describe.each(cases)("%s", (kind, handler, event, subject) => {
  const event1 = event(anOrder());

  it("writes a letter that is the same on every try", () => {
    const view = new MemoryView();
    const { outcome, subjects } = view.handle(handler, event1);
    expect(subjects).toEqual([]);
    expect(letterOf(outcome)).toEqual({
      orderId: "o1",
      kind,
      to: "ada@example.com",
      messageId: `<o1.${kind}@jetstream-checkout>`,
      date: firstDelivery.storedAt,
      subject,
      text: expect.stringMatching(/^Hello Ada,\n/),
    });
    const later = view.handle(handler, event1, { now: new Date("2027-01-01"), attempt: 7 });
    expect(later.outcome).toEqual(outcome);
  });

  it("is recorded once it is sent, and not sent again", () => {
    const view = new MemoryView();
    conclude(view, handler, event1, { kind: "sent" });
    expect(view.subjects).toEqual([`notification.mail.o1.${kind}`]);
    expect(view.get(mail, `o1.${kind}`)).toMatchObject({
      orderId: "o1",
      kind,
      to: "ada@example.com",
      messageId: `<o1.${kind}@jetstream-checkout>`,
      sentAt: timestampFromDate(firstDelivery.now),
    });
    expect(view.handle(handler, event1).outcome).toEqual({ kind: "done", messages: [] });
    expect(conclude(view, handler, event1, { kind: "sent" })).toEqual({ kind: "done", messages: [] });
  });

  it("waits when the server does not take it yet", () => {
    const busy: SendResult = { kind: "unavailable", reason: "busy" };
    expect(conclude(new MemoryView(), handler, event1, busy)).toEqual({ kind: "wait", reason: "busy" });
  });

  it("is a dead letter when the server refuses it", () => {
    const outcome = conclude(new MemoryView(), handler, event1, { kind: "refused", reason: "no such user" });
    expect(outcome).toEqual({ kind: "dead", reason: "no such user" });
  });

  it("is a dead letter without an order", () => {
    expect(new MemoryView().handle(handler, event()).outcome.kind).toBe("dead");
  });

  it.each([
    "",
    "ada",
    "ada@",
    "@example.com",
    "ada@example.com, eve@example.com",
    "ada@example.com\r\nBcc: eve@example.com",
    "Ada <ada@example.com>",
    '"ada"@example.com',
    `${"a".repeat(250)}@example.com`,
  ])("is a dead letter for the address %j, which is not told", (email) => {
    const { outcome } = new MemoryView().handle(handler, event(anOrder("o1", { email })));
    expect(outcome).toEqual({
      kind: "dead",
      reason: `Cannot mail ${kind} of order "o1": the customer's email is not one address`,
    });
  });
});

describe("handlers()", () => {
  it("keeps the mails of an order apart", () => {
    const view = new MemoryView();
    for (const [, handler, event] of cases) {
      expect(view.handle(handler, event(anOrder())).outcome.kind).toBe("perform");
      conclude(view, handler, event(anOrder()), { kind: "sent" });
    }
    expect(view.subjects).toEqual(cases.map(([kind]) => `notification.mail.o1.${kind}`));
  });
});
