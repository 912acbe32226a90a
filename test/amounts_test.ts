import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OrderSchema } from "../gen/shop/order/v1/order_pb.ts";
import { currencies } from "../lib/mod.ts";
import { orderReceived } from "../services/notification/templates.ts";
import { stripe } from "../services/payment/stripe.ts";
import { SECRET_KEY, StripeStandIn } from "../services/payment/stripe_stand_in.ts";
import { silent } from "./support/mod.ts";

/** By Stripe's own list (https://docs.stripe.com/currencies): what is in none of these has two decimals. */
const zeroDecimal = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split(" ");
/** The last two are none of Stripe's currencies, and have three by ISO 4217. */
const threeDecimal = "BHD JOD KWD OMR TND IQD LYD".split(" ");

function decimalsOfStripe(currency: string): number {
  if (zeroDecimal.includes(currency)) return 0;
  return threeDecimal.includes(currency) ? 3 : 2;
}

/** In units of the currency: `Total: HUF 1,200.00` is 1200. */
function totalOfMail(text: string): number {
  const total = /Total: (.*)$/m.exec(text)?.[1] ?? "";
  return Number(/[\d,.]+$/.exec(total)?.[0].replaceAll(",", ""));
}

describe("an order's amount", () => {
  const signal = new AbortController().signal;
  let api: StripeStandIn;
  let apiBase: string;
  beforeAll(async () => {
    api = new StripeStandIn();
    apiBase = await api.listen();
  });
  afterAll(() => api[Symbol.asyncDispose]());

  it.each(currencies.filter((currency) => currency !== "KPW"))(
    "in %s is in the customer's mail what Stripe is asked for",
    async (currency) => {
      const order = create(OrderSchema, { orderId: `o-${currency}`, totalCents: 1_234_500n, currency });
      const { text } = orderReceived(order);
      const provider = stripe({ secretKey: SECRET_KEY, apiBase, log: silent });
      const answer = await provider.capture(
        {
          orderId: order.orderId,
          amountCents: order.totalCents,
          currency,
          token: "pm_card_visa",
          idempotencyKey: `${order.orderId}/capture`,
          askedBefore: false,
          learnOnly: false,
        },
        { signal },
      );
      expect(answer.kind).toBe("captured");
      const { form } = api.intents.at(-1) ?? {};
      expect(form?.get("currency")).toBe(currency.toLowerCase());
      const asked = Number(form?.get("amount")) / 10 ** decimalsOfStripe(currency);
      expect(asked).toBe(totalOfMail(text));
      expect(asked).toBeGreaterThan(0);
    },
  );
});
