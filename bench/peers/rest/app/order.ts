import {
  type CancelReason,
  type Charge,
  type CheckoutRequest,
  type CheckoutResult,
  priceCents,
  type Shipment,
} from "../../sandbox.ts";
import { CallError, call, createService, start } from "./service.ts";

type Order = { readonly order_id: string } & CheckoutResult;

const orders = new Map<string, Order>();

/** Calls every service in turn, as the customer waits; what was done is undone when a later one fails. */
async function checkout(request: CheckoutRequest): Promise<CheckoutResult> {
  const undo: (() => Promise<unknown>)[] = [];
  const cancel = async (reason: CancelReason): Promise<CheckoutResult> => {
    await compensate(undo);
    return { state: "cancelled", reason };
  };
  try {
    const { orderId, sku } = request;
    const { reserved } = await call<{ reserved: boolean }>("inventory", "/reserve", { sku });
    if (!reserved) return cancel("out_of_stock");
    undo.push(() => call("inventory", "/release", { sku }));

    const { flagged } = await call<{ flagged: boolean }>("fraud", "/screen", request.address);
    if (flagged) return cancel("address_flagged");

    const payment = { idempotencyKey: orderId, token: request.paymentToken, amountCents: priceCents };
    const charged = await call<Charge>("payment", "/charge", payment);
    if (charged.kind === "declined") return cancel("payment_declined");
    undo.push(() => call("payment", "/refund", { chargeId: charged.chargeId }));

    const shipment = await call<Shipment>("fulfillment", "/ship", request);
    if (shipment.kind === "refused") return cancel("fulfillment_failed");
    // What is on its way is not called back because a mail fails.
    undo.length = 0;

    const text = `${shipment.shipmentId} is on its way`;
    await call("notification", "/mail", { messageId: orderId, text });
    return { state: "completed", shipmentId: shipment.shipmentId };
  } catch (error) {
    await compensate(undo);
    throw error;
  }
}

/** Undoes what was done, the last thing first. What cannot be undone now never is: nothing remembers it. */
async function compensate(undo: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const step of undo.toReversed()) {
    try {
      await step();
    } catch (error) {
      console.error("Cannot undo a step:", error);
    }
  }
}

const app = createService();
app.post("/orders", async (context) => {
  const request = await context.req.json<CheckoutRequest>();
  const order_id = crypto.randomUUID();
  const order = { order_id, ...(await checkout({ ...request, orderId: order_id })) };
  orders.set(order_id, order);
  return context.json(order, order.state === "completed" ? 201 : 409);
});
app.get("/orders/:id", (context) => {
  const order = orders.get(context.req.param("id"));
  return order === undefined ? context.notFound() : context.json(order);
});
app.onError((error, context) => {
  if (!(error instanceof CallError)) throw error;
  return context.json({ error: error.message }, 503);
});
start(app);
