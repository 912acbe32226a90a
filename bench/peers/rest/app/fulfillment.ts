import { type CheckoutRequest, type Shipment, ship } from "../../sandbox.ts";
import { createService, start } from "./service.ts";

const shipments = new Map<string, Shipment>();

const app = createService();
app.post("/ship", async (context) => {
  const order = await context.req.json<CheckoutRequest>();
  const shipment = ship(order);
  shipments.set(order.orderId, shipment);
  return context.json(shipment);
});
app.get("/shipments/:order", (context) => {
  const shipment = shipments.get(context.req.param("order"));
  return shipment === undefined ? context.notFound() : context.json(shipment);
});
start(app);
