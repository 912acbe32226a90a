import { z } from "zod";
import { type Operation, OrderId, oneOf, Time } from "../../lib/mod.ts";

export const Shipment = z
  .object({
    order_id: z.string(),
    kind: oneOf(["shipment", "activation"]),
    status: oneOf(["shipped", "activated", "failed"]),
    carrier: z.string().optional(),
    tracking_number: z.string().optional(),
    failure: z.string().optional(),
    steps: z.array(
      z.object({ name: oneOf(["packed", "shipped", "activated", "failed"]), at: Time.optional() }),
    ),
  })
  .meta({ id: "Shipment" });
export type Shipment = z.infer<typeof Shipment>;

export const getShipment = {
  id: "getShipment",
  summary: "How an order was handed over, a moment old at most",
  description: "404 until it has been handed over or cannot be.",
  path: { order: OrderId },
  answers: { 200: Shipment },
  problems: { 404: ["unknown-shipment"] },
} satisfies Operation;
