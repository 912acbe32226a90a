import type { MessageShape } from "@bufbuild/protobuf";
import type { CheckoutCompletedSchema } from "../../gen/shop/checkout/v1/checkout_completed_pb.ts";
import type { ReleaseStockSchema } from "../../gen/shop/checkout/v1/release_stock_pb.ts";
import type { ReserveStockSchema } from "../../gen/shop/checkout/v1/reserve_stock_pb.ts";
import type { ItemSchema } from "../../gen/shop/inventory/v1/item_pb.ts";
import type { LineSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  checkoutCompleted,
  item,
  itemPriced,
  key,
  message,
  type Outgoing,
  releaseStock,
  reservation,
  reserveStock,
  stockRejected,
  stockReleased,
  stockReserved,
} from "../../nats/contracts/mod.ts";
import type { Decision, Handler, View } from "../../nats/mod.ts";

type Item = MessageShape<typeof ItemSchema>;
type Line = MessageShape<typeof LineSchema>;

/**
 * Reserves all lines or none. The last unit goes to whichever command comes first, and every later one is rejected.
 * An order that was released, be it before its reservation came, reserves nothing.
 */
const reserve: Handler<typeof ReserveStockSchema> = {
  contract: reserveStock,
  keys: ({ orderId, lines }) => [key(reservation, orderId), ...lines.map((line) => key(item, line.sku))],
  begins: ({ orderId }) => [key(reservation, orderId)],
  decide(view, { orderId, lines }) {
    if (view.get(reservation, orderId) !== undefined) return { kind: "done", messages: [] };
    // Each line is one move of one item; two of the same would both start from what is stored.
    if (new Set(lines.map(({ sku }) => sku)).size < lines.length) {
      return { kind: "dead", reason: "a sku is on two lines" };
    }
    const shortages = lines.flatMap((line) => {
      const available = view.get(item, line.sku)?.available ?? 0n;
      return available < line.quantity ? [{ sku: line.sku, requested: line.quantity, available }] : [];
    });
    if (shortages.length > 0) {
      return {
        kind: "done",
        messages: [
          message(reservation, orderId, { orderId, status: "rejected" }),
          message(stockRejected, orderId, { orderId, shortages }),
        ],
      };
    }
    return {
      kind: "done",
      messages: [
        ...lines.map((line) => move(view, line, { from: "available", to: "reserved" })),
        message(reservation, orderId, { orderId, status: "reserved", lines: lines.map(reservedLine) }),
        message(stockReserved, orderId, { orderId }),
      ],
    };
  },
};

/** Gives back what the order holds or has bought, once, and says so. */
const release: Handler<typeof ReleaseStockSchema> = {
  contract: releaseStock,
  keys: ({ orderId, lines }) => [key(reservation, orderId), ...lines.map((line) => key(item, line.sku))],
  decide(view, { orderId }) {
    const held = view.get(reservation, orderId);
    if (held?.status === "released") return { kind: "done", messages: [] };
    const from = held?.status === "sold" ? "sold" : "reserved";
    return {
      kind: "done",
      messages: [
        ...(held?.lines ?? []).map((line) => move(view, line, { from, to: "available" })),
        message(reservation, orderId, { orderId, status: "released" }),
        message(stockReleased, orderId, { orderId }),
      ],
    };
  },
};

/** Counts what a completed order holds as sold, once. Whatever holds nothing has nothing to sell. */
const sell: Handler<typeof CheckoutCompletedSchema> = {
  contract: checkoutCompleted,
  keys: ({ order }, orderId) => [
    key(reservation, orderId),
    ...(order?.lines ?? []).map((line) => key(item, line.sku)),
  ],
  decide(view, _completed, { id: orderId }) {
    const held = view.get(reservation, orderId);
    if (held?.status !== "reserved") return { kind: "done", messages: [] };
    return {
      kind: "done",
      messages: [
        ...held.lines.map((line) => move(view, line, { from: "reserved", to: "sold" })),
        message(reservation, orderId, { orderId, status: "sold", lines: held.lines.map(reservedLine) }),
      ],
    };
  },
};

export const handlers = [reserve, release, sell] as const;

/** What an operator may set. `available` is what orders can still take; what they hold or have bought stays theirs. */
export interface StockChange {
  available: number;
  unitPriceCents?: number | undefined;
  currency?: string | undefined;
}

/** Sets stock, and price where given. `unpriced` if the item is new and has no price: nothing is stored then. */
export function setStock(view: View, sku: string, change: StockChange): Decision<Item | "unpriced"> {
  const before = view.get(item, sku);
  const unitPriceCents =
    change.unitPriceCents === undefined ? before?.unitPriceCents : BigInt(change.unitPriceCents);
  if (unitPriceCents === undefined) return { messages: [], result: "unpriced" };
  const currency = change.currency ?? before?.currency ?? DEFAULT_CURRENCY;
  const stored = message(item, sku, {
    sku,
    unitPriceCents,
    currency,
    available: BigInt(change.available),
    reserved: before?.reserved ?? 0n,
    sold: before?.sold ?? 0n,
  });
  const priced = before?.unitPriceCents !== unitPriceCents || before.currency !== currency;
  const messages: Outgoing[] = [stored];
  if (priced) messages.push(message(itemPriced, sku, { sku, unitPriceCents, currency }));
  return { messages, result: stored.value };
}

/** Puts an item on sale unless it is already. */
export function seed(view: View, sku: string, change: StockChange): Decision<undefined> {
  if (view.get(item, sku) !== undefined) return { messages: [], result: undefined };
  return { messages: setStock(view, sku, change).messages, result: undefined };
}

const DEFAULT_CURRENCY = "EUR";

/** Where the units of an item are. */
type Place = "available" | "reserved" | "sold";

/** I2: what leaves one place is in the other, to the unit. */
function move(
  view: View,
  { sku, quantity }: Pick<Line, "sku" | "quantity">,
  { from, to }: { from: Place; to: Place },
): Outgoing {
  const before = view.get(item, sku);
  if (before === undefined)
    throw new RangeError(`Cannot move stock of ${JSON.stringify(sku)}: there is no such item`);
  const units = BigInt(quantity);
  return message(item, sku, { ...before, [from]: before[from] - units, [to]: before[to] + units });
}

function reservedLine({ sku, quantity }: Pick<Line, "sku" | "quantity">): { sku: string; quantity: number } {
  return { sku, quantity };
}
