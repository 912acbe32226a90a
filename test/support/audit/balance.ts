import * as shop from "../../../nats/contracts/mod.ts";
import { type Ledgers, said } from "./ledgers.ts";

/** I1: what was kept of an order's money is its price if it was completed, and nothing otherwise. */
export function moneyChecker(ledgers: Ledgers): (id: string, due: bigint) => string[] {
  const payments = said(ledgers, shop.payment);
  return (id, due) => {
    const paid = payments.get(id)?.at(-1)?.value;
    const kept = (paid?.capturedCents ?? 0n) - (paid?.refundedCents ?? 0n);
    return kept === due ? [] : [`${kept} cents are kept, ${due} are due`];
  };
}

/**
 * I2, to the unit and at every moment: no version of an item has lost or found a unit, and in the end what is reserved is what
 * the reservations hold, and what is sold what they have sold.
 */
export function stockFaults(ledgers: Ledgers, units: Readonly<Record<string, number>>): string[] {
  const booked = { reserved: new Map<string, bigint>(), sold: new Map<string, bigint>() };
  for (const versions of said(ledgers, shop.reservation).values()) {
    const { status, lines = [] } = versions.at(-1)?.value ?? {};
    if (status !== "reserved" && status !== "sold") continue;
    const units = booked[status];
    for (const { sku, quantity } of lines) units.set(sku, (units.get(sku) ?? 0n) + BigInt(quantity));
  }
  const items = said(ledgers, shop.item);
  return Object.entries(units).flatMap(([sku, all]) => {
    const versions = items.get(sku) ?? [];
    const faults = versions.flatMap(({ seq, value: { available, reserved, sold } }) =>
      available + reserved + sold === BigInt(all) && available >= 0n && reserved >= 0n && sold >= 0n
        ? []
        : [`I2 ${sku}: ${available} + ${reserved} + ${sold} are not ${all} at ${seq}`],
    );
    for (const place of ["reserved", "sold"] as const) {
      const units = versions.at(-1)?.value[place];
      const wanted = booked[place].get(sku) ?? 0n;
      if (units !== wanted)
        faults.push(`I2 ${sku}: ${units} are ${place}, by the reservations it is ${wanted}`);
    }
    return faults;
  });
}
