import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import { evaluate, type Rule } from "./rules.ts";

function hits(init: MessageInitShape<typeof OrderSchema>): string[] {
  return evaluate(create(OrderSchema, init)).map(({ rule, field }) => `${rule} ${field}`);
}

describe("evaluate()", () => {
  it("finds nothing in an ordinary order", () => {
    const customer = { email: "ada@example.com" };
    expect(hits({ customer, shippingAddress: { line1: "12 High Street" }, totalCents: 1_200n })).toEqual([]);
  });

  it("finds nothing in an order without an address or a customer", () => {
    expect(hits({})).toEqual([]);
  });

  it.each(["Unit 4, Freight Forwarding Ltd", "FREIGHT FORWARDING", "freight forwarding depot"])(
    "finds a freight forwarder in %j, on either line",
    (line) => {
      expect(hits({ shippingAddress: { line1: line } })).toEqual([
        "freight_forwarder shipping_address.line1",
      ]);
      expect(hits({ shippingAddress: { line2: line } })).toEqual([
        "freight_forwarder shipping_address.line2",
      ]);
    },
  );

  it.each(["ada@mailinator.com", "ada@MAILINATOR.COM", "ada@eu.guerrillamail.com", "ada@ｍailinator.com"])(
    "finds the disposable mailbox %s",
    (email) => {
      expect(hits({ customer: { email } })).toEqual(["disposable_email customer.email"]);
    },
  );

  it.each(["mailinator.com@example.com", "ada@notmailinator.com", "ada@mailinator.com.example", ""])(
    "finds no disposable mailbox in %j",
    (email) => {
      expect(hits({ customer: { email } })).toEqual([]);
    },
  );

  it("finds a very large order from its limit on", () => {
    expect(hits({ totalCents: 49_999_999n })).toEqual([]);
    expect(hits({ totalCents: 50_000_000n })).toEqual(["very_large_order total_cents"]);
  });

  it("says which value hit and why", () => {
    expect(evaluate(create(OrderSchema, { totalCents: 50_000_000n }))).toEqual([
      {
        rule: "very_large_order",
        field: "total_cents",
        value: "50000000",
        explanation: "An order this large is confirmed with the customer before it is charged",
      },
    ]);
  });

  it("takes a rule that is one more row", () => {
    const row: Rule = {
      name: "no_town",
      description: "Nobody lives there",
      fields: ["shipping_address.line1"],
      match: { kind: "contains", text: "nowhere" },
    };
    const order = create(OrderSchema, { shippingAddress: { line1: "1 Nowhere Lane" } });
    expect(evaluate(order, [row])).toMatchObject([{ rule: "no_town", value: "1 Nowhere Lane" }]);
  });
});
