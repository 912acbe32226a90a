/**
 * The currencies of ISO 4217 (list one, as of 2026-01-01) by how many digits of their unit are minor: an amount of 1200 is
 * 12.00 EUR, 1200 JPY and 1.200 KWD. Left out are funds, metals and codes for tests, in which nobody pays.
 *
 * A table, since what JavaScript knows (`Intl`) is CLDR's: the digits that people write, which are fewer for sixteen of these
 * currencies. CLDR writes no fillér, so that 1200 of HUF would be shown as 1200 Ft and charged as 12.
 */
const byDigits: Readonly<Record<number, string>> = {
  0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
  2:
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE " +
    "CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR " +
    "KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB " +
    "PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY " +
    "TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
  3: "BHD IQD JOD KWD LYD OMR TND",
};
/** Withdrawn in the last years. Orders that were placed in them are still read. */
const withdrawn = { ANG: 2, BGN: 2, CUC: 2, HRK: 2, SLL: 2, ZWL: 2 };

const active = new Map<string, number>(
  Object.entries(byDigits).flatMap(([digits, codes]) =>
    codes.split(" ").map((code) => [code, Number(digits)]),
  ),
);
const known = new Map<string, number>([...active, ...Object.entries(withdrawn)]);

/** What a price can be in: the codes of ISO 4217 that are in use, upper case. */
export const currencies: readonly string[] = [...active.keys()].sort();

export function isCurrency(code: string): boolean {
  return active.has(code);
}

/** How many digits of the currency's unit are minor, by ISO 4217. Undefined if it has no such currency. */
export function minorDigits(currency: string): number | undefined {
  return known.get(currency);
}

/** One for each currency that is used: making one costs more than all that is done with it. */
const formats = new Map<string, Intl.NumberFormat>();

function formatOf(currency: string, digits: number): Intl.NumberFormat {
  const made = formats.get(currency);
  if (made !== undefined) return made;
  const format = new Intl.NumberFormat("en", {
    style: "currency",
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  formats.set(currency, format);
  return format;
}

/**
 * An amount in minor units, as people write it: `formatMoney(120_000n, "EUR")` is `€1,200.00`. Exact, however large.
 * @throws {RangeError} If ISO 4217 has no such currency: nobody can tell what the amount is.
 */
export function formatMoney(amount: bigint, currency: string): string {
  const digits = minorDigits(currency);
  if (digits === undefined) {
    throw new RangeError(
      `Cannot write an amount in ${JSON.stringify(currency)}: ISO 4217 has no such currency`,
    );
  }
  // Text, since a number would lose digits.
  const text = String(amount < 0n ? -amount : amount).padStart(digits + 1, "0");
  const split = text.length - digits;
  const decimal = `${amount < 0n ? "-" : ""}${text.slice(0, split)}${digits > 0 ? `.${text.slice(split)}` : ""}`;
  return formatOf(currency, digits).format(decimal as Intl.StringNumericLiteral);
}
