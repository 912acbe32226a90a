import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { FulfillOrderSchema } from "../../gen/shop/checkout/v1/fulfill_order_pb.ts";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import {
  type Contract,
  fulfillmentFailed,
  fulfillOrder,
  type Key,
  key,
  message,
  type Outgoing,
  orderActivated,
  orderShipped,
} from "../../nats/contracts/mod.ts";
import type { Handler } from "../../nats/mod.ts";
import { carrierFor, trackingNumber } from "./carriers.ts";

type Order = MessageShape<typeof OrderSchema>;

export interface FulfillmentOptions {
  /** Skus that cannot be packed, each with the reason. */
  unpackable: Readonly<Record<string, string>>;
}

/**
 * Everything that fulfillment does about a message: it hands over an order, or says that it cannot, once.
 *
 * What it says is its state: no other message tells of it. An order has one of `shipped`, `activated` and `failed`, and
 * only that one is guarded when it is stored. That is enough because the command leads to the same one whenever and
 * wherever it is handled, as long as the instances of this service agree on what is `unpackable`. Where that may change
 * from one try to the next, all outcomes have to write one subject, as those of a payment do.
 */
export function handlers({ unpackable }: FulfillmentOptions) {
  const fulfill: Handler<typeof FulfillOrderSchema> = {
    contract: fulfillOrder,
    keys: ({ order }, id) => outcomes(order).map((contract) => key(contract, id)),
    begins: ({ order }, id) => begun(order, id, unpackable),
    decide(view, { order }, { now }) {
      if (order === undefined)
        return { kind: "dead", reason: "Cannot fulfil an order: the command has none" };
      const { orderId } = order;
      const ended = outcomes(order).some(
        (contract) => view.get<DescMessage>(contract, orderId) !== undefined,
      );
      return { kind: "done", messages: ended ? [] : [handOver(order, { unpackable, now })] };
    },
  };
  return [fulfill] as const;
}

/** How an order with this plan can end. The plan is part of the command and never another. */
function outcomes(order: Order | undefined): readonly Contract[] {
  return isTrial(order) ? [orderActivated] : [orderShipped, fulfillmentFailed];
}

/** What the command will store, unless it has been handled: it need not be read before. */
function begun(
  order: Order | undefined,
  id: string,
  unpackable: FulfillmentOptions["unpackable"],
): readonly Key[] {
  if (isTrial(order)) return [key(orderActivated, id)];
  const fails = order !== undefined && packingFailure(order, unpackable) !== undefined;
  return [fails ? key(fulfillmentFailed, id) : key(orderShipped, id)];
}

function handOver(order: Order, { unpackable, now }: FulfillmentOptions & { now: Date }): Outgoing {
  const { orderId } = order;
  const at = timestampFromDate(now);
  // Nothing is packed or shipped, whatever is on its lines.
  if (isTrial(order)) return message(orderActivated, orderId, { orderId, activatedAt: at });
  const failure = packingFailure(order, unpackable);
  if (failure !== undefined) return message(fulfillmentFailed, orderId, { orderId, failure, failedAt: at });
  const carrier = carrierFor(order.shippingPriority);
  return message(orderShipped, orderId, {
    orderId,
    carrier: carrier.name,
    trackingNumber: trackingNumber(carrier, orderId),
    packedAt: at,
    shippedAt: at,
  });
}

function isTrial(order: Order | undefined): boolean {
  return order?.customer?.plan === "trial";
}

/** Why an order cannot be packed, undefined if it can. All lines go into one parcel, so that one is enough. */
function packingFailure({ lines }: Order, unpackable: FulfillmentOptions["unpackable"]): string | undefined {
  const failures = lines
    .filter(({ sku }) => Object.hasOwn(unpackable, sku))
    .map(({ sku }) => `Cannot pack ${JSON.stringify(sku)}: ${unpackable[sku]}`);
  return failures.length === 0 ? undefined : failures.join("; ");
}
