import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import { orderCancelled, orderCompleted, orderReceived } from "./templates.ts";
import { anOrder } from "./test_support.ts";

describe("orderReceived()", () => {
  it("thanks by name, and lists what was ordered with its price", () => {
    expect(orderReceived(anOrder())).toEqual({
      subject: "We have your order o1",
      text: `Hello Ada,

thank you for your order. We have it, and write again as soon as it is done.

Order o1
  2 × mug: €24.00
  1 × desk: €249.00
  Total: €273.00

Your shop
`,
    });
  });

  it("needs neither a name nor an address", () => {
    const order = create(OrderSchema, { orderId: "o1", totalCents: 0n, currency: "USD" });
    expect(orderReceived(order).text).toMatch(/^Hello,\n\nthank you.*Total: \$0\.00/s);
  });

  it("puts what a customer typed on one line, and not an endless one", () => {
    const { text } = orderReceived(
      anOrder("o1", { name: `Ada\r\n\r\nBcc: all\u0000\u2028${"x".repeat(500)}` }),
    );
    expect(text).toMatch(/^Hello Ada Bcc: all x{1,100},\n\n/);
  });
});

describe("orderCompleted()", () => {
  it("says where a parcel goes", () => {
    const { subject, text } = orderCompleted(anOrder());
    expect(subject).toBe("Your order o1 is on its way");
    expect(text).toContain("your order is paid, packed and on its way to York.");
  });

  it("speaks of no parcel in a trial plan", () => {
    const { subject, text } = orderCompleted(anOrder("o1", { plan: "trial" }));
    expect(subject).toBe("Your trial is active (order o1)");
    expect(text).not.toMatch(/way|pack|York/);
  });
});

describe("orderCancelled()", () => {
  it.each([
    ["out_of_stock", /no longer have all .* not been charged/],
    ["payment_declined", /declined the payment\. .* not been charged/],
    ["review_rejected", /cannot accept it\. .* not been charged/],
    ["review_expired", /could not check it in time\. .* not been charged/],
    ["customer_request", /you asked us to\. If you have been charged/],
    ["fulfillment_failed", /could not get it ready .* whole amount is on its way back/],
    ["timed_out", /took us too long.* whole amount is on its way back/],
    ["a_reason_of_tomorrow", /something went wrong on our side/],
    ["constructor", /something went wrong on our side/],
  ])("says %s in plain words, and what became of the money", (reason, words) => {
    const { subject, text } = orderCancelled(anOrder(), reason);
    expect(subject).toBe("Your order o1 is cancelled");
    expect(text).toMatch(words);
    expect(text).not.toContain("_");
  });
});
