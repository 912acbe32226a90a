import type { MessageShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import { described, type Env, Problem, readOrderId, toTime } from "../../lib/mod.ts";
import {
  fulfillmentFailed,
  key,
  type Ledger,
  orderActivated,
  orderShipped,
  viewLast,
} from "../../nats/mod.ts";
import { getShipment, type Shipment } from "./api.ts";

/** What `api.ts` describes. */
export function routes(
  app: Hono<Env>,
  { jsm, ledger }: { jsm: JetStreamManager; ledger: Ledger },
): Hono<Env> {
  return app.get("/shipments/:order", described(getShipment), async (context) => {
    const orderId = readOrderId(context.req.param("order"), unknownShipment);
    // An order has one of them at most.
    const [shipped, activated, failed] = await Promise.all([
      viewLast(jsm, ledger.stream, key(orderShipped, orderId)),
      viewLast(jsm, ledger.stream, key(orderActivated, orderId)),
      viewLast(jsm, ledger.stream, key(fulfillmentFailed, orderId)),
    ]);
    if (shipped !== undefined) return context.json(shippedToJson(shipped));
    if (activated !== undefined) return context.json(activatedToJson(activated));
    if (failed !== undefined) return context.json(failedToJson(failed));
    throw unknownShipment(orderId);
  });
}

function unknownShipment(orderId: string): Problem {
  return new Problem(404, "unknown-shipment", {
    title: "Unknown shipment",
    detail: `There is no shipment of an order ${JSON.stringify(orderId)}`,
  });
}

function shippedToJson(shipped: MessageShape<typeof orderShipped.schema>): Shipment {
  return {
    order_id: shipped.orderId,
    kind: "shipment",
    status: "shipped",
    carrier: shipped.carrier,
    tracking_number: shipped.trackingNumber,
    steps: [step("packed", shipped.packedAt), step("shipped", shipped.shippedAt)],
  };
}

function activatedToJson({ orderId, activatedAt }: MessageShape<typeof orderActivated.schema>): Shipment {
  const steps = [step("activated", activatedAt)];
  return { order_id: orderId, kind: "activation", status: "activated", steps };
}

function failedToJson({
  orderId,
  failure,
  failedAt,
}: MessageShape<typeof fulfillmentFailed.schema>): Shipment {
  const steps = [step("failed", failedAt)];
  return { order_id: orderId, kind: "shipment", status: "failed", failure, steps };
}

function step(name: string, at: Timestamp | undefined) {
  return { name, at: toTime(at) };
}
