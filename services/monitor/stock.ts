import { decode, item } from "../../nats/mod.ts";
import type { Line } from "./facts.ts";
import type { Violation } from "./invariants.ts";

interface Item {
  available: bigint;
  reserved: bigint;
}

/**
 * I2 over all orders: what is taken of a sku is what the reservations hold, to the unit. Items and reservations are in one
 * stream and change in one batch, so that the sums agree after every batch, whatever is under way. In memory is one
 * entry for each sku, and none for an order.
 */
export class StockBalance {
  readonly #items = new Map<string, Item>();
  readonly #held = new Map<string, bigint>();
  /** Items whose last version cannot be decoded, with the reason. */
  readonly #unreadable = new Map<string, string>();

  /** Takes a new version of an item. */
  foldItem(sku: string, data: Uint8Array): void {
    this.#unreadable.delete(sku);
    try {
      const { available, reserved } = decode(item, data);
      this.#items.set(sku, { available, reserved });
    } catch (cause) {
      this.#unreadable.set(sku, String(cause));
    }
  }

  /** An order holds `after` and held `before`. */
  foldReservation(before: readonly Line[], after: readonly Line[]): void {
    const add = (sku: string, quantity: number) =>
      this.#held.set(sku, (this.#held.get(sku) ?? 0n) + BigInt(quantity));
    for (const { sku, quantity } of before) add(sku, -quantity);
    for (const { sku, quantity } of after) add(sku, quantity);
  }

  violations(): Violation[] {
    const skus = new Set([...this.#items.keys(), ...this.#held.keys(), ...this.#unreadable.keys()]);
    return [...skus].flatMap((subject) => {
      const { available, reserved } = this.#items.get(subject) ?? { available: 0n, reserved: 0n };
      const held = this.#held.get(subject) ?? 0n;
      const violation = (detail: string) => [{ invariant: "I2" as const, subject, detail }];
      const unreadable = this.#unreadable.get(subject);
      if (unreadable !== undefined) return violation(`its item cannot be decoded (${unreadable})`);
      if (reserved !== held) return violation(`${reserved} are taken, the reservations hold ${held}`);
      if (available < 0n) return violation(`${available} are available`);
      return [];
    });
  }
}
