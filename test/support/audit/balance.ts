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
 * I2, to the unit and at every moment: no version of an item has lost or found a unit, and in the end what is taken is
 * what the reservations hold.
 */
export function stockFaults(ledgers: Ledgers, units: Readonly<Record<string, number>>): string[] {
  const held = new Map<string, number>();
  for (const versions of said(ledgers, shop.reservation).values()) {
    const { status, lines = [] } = versions.at(-1)?.value ?? {};
    if (status !== "reserved") continue;
    for (const { sku, quantity } of lines) held.set(sku, (held.get(sku) ?? 0) + quantity);
  }
  const items = said(ledgers, shop.item);
  return Object.entries(units).flatMap(([sku, all]) => {
    const versions = items.get(sku) ?? [];
    const faults = versions.flatMap(({ seq, value: { available, reserved } }) =>
      available + reserved === BigInt(all) && available >= 0n && reserved >= 0n
        ? []
        : [`I2 ${sku}: ${available} + ${reserved} are not ${all} at ${seq}`],
    );
    const taken = Number(versions.at(-1)?.value.reserved ?? -1n);
    const wanted = held.get(sku) ?? 0;
    return taken === wanted ? faults : [...faults, `I2 ${sku}: ${taken} are taken, ${wanted} are held`];
  });
}
