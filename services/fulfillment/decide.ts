import type { MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { FulfillOrderSchema } from "../../gen/shop/checkout/v1/fulfill_order_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  fulfillmentFailed,
  fulfillOrder,
  key,
  message,
  type Outgoing,
  orderActivated,
  orderShipped,
  shipment,
} from "../../nats/contracts/mod.ts";
import type { Handler } from "../../nats/mod.ts";
import { carrierFor, trackingNumber } from "./carriers.ts";

type Order = MessageShape<typeof OrderSchema>;

export interface FulfillmentOptions {
  /** Skus that cannot be packed, each with the reason. */
  unpackable: Readonly<Record<string, string>>;
}

/** Everything that fulfillment does about a message: it hands over an order, or says that it cannot, once. */
export function handlers({ unpackable }: FulfillmentOptions) {
  const fulfill: Handler<typeof FulfillOrderSchema> = {
    contract: fulfillOrder,
    keys: (_, id) => [key(shipment, id)],
    decide(view, { order }, { now }) {
      if (order === undefined)
        return { kind: "dead", reason: "Cannot fulfil an order: the command has none" };
      if (view.get(shipment, order.orderId) !== undefined) return { kind: "done", messages: [] };
      if (order.customer?.plan === "trial") return { kind: "done", messages: activate(order, now) };
      const failure = packingFailure(order, unpackable);
      if (failure !== undefined) return { kind: "done", messages: fail(order, failure, now) };
      return { kind: "done", messages: packAndShip(order, now) };
    },
  };
  return [fulfill] as const;
}

/** A trial plan: nothing is packed or shipped, whatever is on its lines. */
function activate({ orderId }: Order, now: Date): Outgoing[] {
  const steps = [{ name: "activated", at: timestampFromDate(now) }];
  return [
    message(shipment, orderId, { orderId, kind: "activation", status: "activated", steps }),
    message(orderActivated, orderId, { orderId }),
  ];
}

function packAndShip({ orderId, shippingPriority }: Order, now: Date): Outgoing[] {
  const carrier = carrierFor(shippingPriority);
  const parcel = { carrier: carrier.name, trackingNumber: trackingNumber(carrier, orderId) };
  const at = timestampFromDate(now);
  const steps = [
    { name: "packed", at },
    { name: "shipped", at },
  ];
  return [
    message(shipment, orderId, { orderId, kind: "shipment", status: "shipped", ...parcel, steps }),
    message(orderShipped, orderId, { orderId, ...parcel }),
  ];
}

function fail({ orderId }: Order, failure: string, now: Date): Outgoing[] {
  const steps = [{ name: "failed", at: timestampFromDate(now) }];
  return [
    message(shipment, orderId, { orderId, kind: "shipment", status: "failed", failure, steps }),
    message(fulfillmentFailed, orderId, { orderId, failure }),
  ];
}

/** Why an order cannot be packed, undefined if it can. All lines go into one parcel, so that one is enough. */
function packingFailure({ lines }: Order, unpackable: FulfillmentOptions["unpackable"]): string | undefined {
  const failures = lines
    .filter(({ sku }) => Object.hasOwn(unpackable, sku))
    .map(({ sku }) => `Cannot pack ${JSON.stringify(sku)}: ${unpackable[sku]}`);
  return failures.length === 0 ? undefined : failures.join("; ");
}
