import { minorDigits } from "../../lib/mod.ts";

/**
 * How many digits of an amount are minor to Stripe, where that is not what ISO 4217 says
 * (https://docs.stripe.com/currencies). It took fractions of ISK and UGX once, and keeps the digits; it knows none of MGA.
 *
 * HUF and TWD have no minor digits in payouts only. Charges are in ISO's.
 */
const digitsOfStripe: Readonly<Record<string, number>> = { ISK: 2, UGX: 2, MGA: 0 };

/**
 * An amount in the currency's minor units as Stripe wants it, in the units that Stripe counts. Undefined if that cannot be said
 * exactly: a fraction of what Stripe's unit is; a third minor digit that is not 0, which card networks do not take; or a
 * currency that ISO 4217 does not have.
 */
export function toStripeAmount(amount: bigint, currency: string): number | undefined {
  const digits = minorDigits(currency);
  if (digits === undefined) return undefined;
  if (digits >= 3 && amount % 10n !== 0n) return undefined;
  const shift = (digitsOfStripe[currency] ?? digits) - digits;
  if (shift >= 0) return Number(amount * 10n ** BigInt(shift));
  const unit = 10n ** BigInt(-shift);
  return amount % unit === 0n ? Number(amount / unit) : undefined;
}
