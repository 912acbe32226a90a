import type { MessageShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import type { ShipmentSchema } from "../../gen/shop/fulfillment/v1/shipment_pb.ts";
import { type Env, Problem, readOrderId } from "../../lib/mod.ts";
import { key, type Ledger, shipment, viewLast } from "../../nats/mod.ts";

/**
 * `GET /shipments/{order}` → `{"order_id","kind","status","carrier"?,"tracking_number"?,"failure"?,"steps":[{"name","at"}]}`.
 * A moment old at most; 404 until the order has been handed over or cannot be.
 */
export function routes(
  app: Hono<Env>,
  { jsm, ledger }: { jsm: JetStreamManager; ledger: Ledger },
): Hono<Env> {
  return app.get("/shipments/:order", async (context) => {
    const orderId = readOrderId(context.req.param("order"), unknownShipment);
    const found = await viewLast(jsm, ledger.stream, key(shipment, orderId));
    if (found === undefined) throw unknownShipment(orderId);
    return context.json(toJson(found));
  });
}

function unknownShipment(orderId: string): Problem {
  return new Problem(404, "unknown-shipment", {
    title: "Unknown shipment",
    detail: `There is no shipment of an order ${JSON.stringify(orderId)}`,
  });
}

/** Without the parts that this shipment has not got. */
function toJson(found: MessageShape<typeof ShipmentSchema>) {
  return {
    order_id: found.orderId,
    kind: found.kind,
    status: found.status,
    carrier: found.carrier || undefined,
    tracking_number: found.trackingNumber || undefined,
    failure: found.failure || undefined,
    steps: found.steps.map(({ name, at }) => ({ name, at: at && timestampDate(at).toISOString() })),
  };
}
