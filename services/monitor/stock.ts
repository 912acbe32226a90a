import { decode, item } from "../../nats/mod.ts";
import type { Reservation } from "./facts.ts";
import type { Violation } from "./invariants.ts";

/** What is taken of a sku. */
interface Taken {
  readonly reserved: bigint;
  readonly sold: bigint;
}

interface Item extends Taken {
  readonly available: bigint;
}

const nothing: Item = { available: 0n, reserved: 0n, sold: 0n };

/**
 * I2 over all orders: what is reserved and sold of a sku is what the reservations say, to the unit. Items and reservations are in one
 * stream and change in one batch, so that the sums agree after every batch, whatever is under way. In memory is one
 * entry for each sku, and none for an order.
 */
export class StockBalance {
  readonly #items = new Map<string, Item>();
  /** By sku, what the reservations say. */
  readonly #booked = new Map<string, Taken>();
  /** Items whose last version cannot be decoded, with the reason. */
  readonly #unreadable = new Map<string, string>();

  /** Takes a new version of an item. */
  foldItem(sku: string, data: Uint8Array): void {
    this.#unreadable.delete(sku);
    try {
      const { available, reserved, sold } = decode(item, data);
      this.#items.set(sku, { available, reserved, sold });
    } catch (cause) {
      this.#unreadable.set(sku, String(cause));
    }
  }

  /** An order's reservation is `after` and was `before`; undefined: there was none. */
  foldReservation(before: Reservation | undefined, after: Reservation | undefined): void {
    this.#book(before, -1n);
    this.#book(after, 1n);
  }

  #book(reservation: Reservation | undefined, times: 1n | -1n): void {
    if (reservation?.status !== "reserved" && reservation?.status !== "sold") return;
    const { status, lines } = reservation;
    for (const { sku, quantity } of lines) {
      const booked = this.#booked.get(sku) ?? nothing;
      this.#booked.set(sku, { ...booked, [status]: booked[status] + times * BigInt(quantity) });
    }
  }

  violations(): Violation[] {
    const skus = new Set([...this.#items.keys(), ...this.#booked.keys(), ...this.#unreadable.keys()]);
    return [...skus].flatMap((subject) => {
      const { available, reserved, sold } = this.#items.get(subject) ?? nothing;
      const booked = this.#booked.get(subject) ?? nothing;
      const violation = (detail: string) => [{ invariant: "I2" as const, subject, detail }];
      const unreadable = this.#unreadable.get(subject);
      if (unreadable !== undefined) return violation(`its item cannot be decoded (${unreadable})`);
      if (reserved !== booked.reserved)
        return violation(`${reserved} are reserved, the reservations hold ${booked.reserved}`);
      if (sold !== booked.sold) return violation(`${sold} are sold, the reservations say ${booked.sold}`);
      if (available < 0n) return violation(`${available} are available`);
      return [];
    });
  }
}
