import type { Item } from "../gen/shop/inventory/v1/item_pb.ts";
import { type BatchEntry, encode, HeaderLines, item, subjectOf } from "../nats/mod.ts";

/** What an order takes of a sku. */
export interface Line {
  readonly sku: string;
  readonly quantity: number;
}

/** An item and the lines of its message's headers. */
export interface Stored {
  readonly value: Item;
  readonly headers: string;
}

/** What is in stock, as copied orders buy it, which are completed: the books of all skus stay right to the unit. */
export class Stock {
  readonly #items: Map<string, Stored>;

  /** @param items As they are stored. */
  constructor(items: readonly Stored[]) {
    this.#items = new Map(items.map((one) => [one.value.sku, one]));
  }

  /**
   * The items that change, once each, as a group commit stores them.
   * @throws {RangeError} If there are fewer of one than `lines` take.
   */
  take(lines: readonly Line[]): BatchEntry[] {
    const changed = new Set<Stored>();
    for (const { sku, quantity } of lines) {
      const stored = this.#items.get(sku);
      if (stored === undefined || stored.value.available < quantity) {
        throw new RangeError(`Cannot copy an order of ${quantity} × "${sku}": there are no more of it`);
      }
      stored.value.available -= BigInt(quantity);
      stored.value.sold += BigInt(quantity);
      changed.add(stored);
    }
    return [...changed].map(({ value, headers }) => ({
      subject: subjectOf(item, value.sku),
      headers: new HeaderLines(headers),
      data: encode(item, value),
    }));
  }
}
