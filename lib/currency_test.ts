import { describe, expect, it } from "vitest";
import { currencies, formatMoney, isCurrency, minorDigits } from "./currency.ts";

describe("minorDigits()", () => {
  it.each([
    ["EUR", 2],
    ["JPY", 0],
    ["ISK", 0],
    ["UGX", 0],
    ["HUF", 2],
    ["COP", 2],
    ["IDR", 2],
    ["MGA", 2],
    ["KWD", 3],
    ["IQD", 3],
    ["BGN", 2],
    ["XXX", undefined],
    ["eur", undefined],
    ["", undefined],
  ])("of %s are %s", (currency, digits) => {
    expect(minorDigits(currency)).toBe(digits);
  });
});

describe("currencies", () => {
  it("are codes that JavaScript's own list has, each once", () => {
    const written = new Set(Intl.supportedValuesOf("currency"));
    // A second code for the bolívar, which CLDR does not list.
    expect(currencies.filter((code) => !written.has(code))).toEqual(["VED"]);
    expect(new Set(currencies).size).toBe(currencies.length);
    expect(currencies).toHaveLength(155);
  });

  it("are what a price can be in, and nothing else is", () => {
    expect(currencies.every(isCurrency)).toBe(true);
    for (const code of ["BGN", "XAU", "XTS", "CHE", "EURO", "constructor"])
      expect(isCurrency(code)).toBe(false);
  });
});

describe("formatMoney()", () => {
  it.each([
    [0n, "EUR", "€0.00"],
    [5n, "EUR", "€0.05"],
    [120_000n, "EUR", "€1,200.00"],
    [-1_200n, "USD", "-$12.00"],
    [1_200n, "JPY", "¥1,200"],
    [1_200n, "KWD", "KWD\u00a01.200"],
    // Those of which people write fewer digits than there are.
    [1_250n, "HUF", "HUF\u00a012.50"],
    [1_250n, "IQD", "IQD\u00a01.250"],
    [1_250n, "UGX", "UGX\u00a01,250"],
    [1_250n, "BGN", "BGN\u00a012.50"],
    [900_719_925_474_099_301n, "GBP", "£9,007,199,254,740,993.01"],
  ])("writes %s of %s as %s", (amount, currency, text) => {
    expect(formatMoney(amount, currency)).toBe(text);
  });

  it.each(["XXX", "EURO", "", "eur"])(
    "writes no amount in %j, of which nobody knows the unit",
    (currency) => {
      expect(() => formatMoney(1n, currency)).toThrow(RangeError);
    },
  );
});
