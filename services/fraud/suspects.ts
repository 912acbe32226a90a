import { createHash } from "node:crypto";
import type { Order } from "../../gen/shop/order/v1/order_pb.ts";
import type { Evidence } from "./rules.ts";

/** Finds a share of all orders worth a person's look, for demonstrations; the same order at the same share each time. */
export function suspectsAt(rate: () => number): (order: Order) => Evidence[] {
  return ({ orderId }) => {
    const place = createHash("sha256").update(orderId).digest().readUInt32BE() / 2 ** 32;
    if (place >= rate()) return [];
    const explanation = "An operator has asked for this share of orders to be flagged";
    return [{ rule: "flag_rate", field: "order_id", value: orderId, explanation }];
  };
}
