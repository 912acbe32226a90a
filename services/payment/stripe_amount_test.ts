import { describe, expect, it } from "vitest";
import { toStripeAmount } from "./stripe_amount.ts";

describe("toStripeAmount()", () => {
  it.each([
    [1_234n, "EUR", 1_234],
    [1_234n, "JPY", 1_234],
    // Amounts of 5 are 500, for compatibility.
    [5n, "ISK", 500],
    [5n, "UGX", 500],
    // Without minor digits in payouts only.
    [1_234n, "HUF", 1_234],
    [1_234n, "TWD", 1_234],
    [1_200n, "MGA", 12],
    [5_120n, "KWD", 5_120],
    [99_999_999_999n, "UGX", 9_999_999_999_900],
  ])("of %s %s is %s", (amount, currency, stripes) => {
    expect(toStripeAmount(amount, currency)).toBe(stripes);
  });

  it.each([
    [5_124n, "KWD"],
    [1_201n, "MGA"],
    [1n, "XXX"],
    [1n, ""],
  ])("of %s %s is none", (amount, currency) => {
    expect(toStripeAmount(amount, currency)).toBeUndefined();
  });
});
