import { type Context, service, TerminalError } from "@restatedev/restate-sdk";
import {
  type CancelReason,
  type CheckoutRequest,
  type CheckoutResult,
  isFlagged,
  priceCents,
} from "../../sandbox.ts";
import { compensate } from "./checkout.ts";
import { inventory } from "./inventory.ts";
import { fulfillment, notification, payment } from "./services.ts";

/** The same checkout where every participant is a service: each step is a durable call, the mail a one-way message. */
export const checkoutOfServices = service({
  name: "CheckoutOfServices",
  handlers: {
    async run(context: Context, order: CheckoutRequest): Promise<CheckoutResult> {
      const stock = context.objectClient(inventory, order.sku);
      const payments = context.serviceClient(payment);
      const undo: (() => Promise<unknown>)[] = [];
      const cancel = async (reason: CancelReason): Promise<CheckoutResult> => {
        await compensate(undo);
        return { state: "cancelled", reason };
      };
      try {
        if (!(await stock.reserve())) return cancel("out_of_stock");
        undo.push(() => stock.release());

        if (isFlagged(order.address)) return cancel("address_flagged");

        const request = { idempotencyKey: order.orderId, token: order.paymentToken, amountCents: priceCents };
        const charged = await payments.charge(request);
        if (charged.kind === "declined") return cancel("payment_declined");
        undo.push(() => payments.refund(charged.chargeId));

        const shipment = await context.serviceClient(fulfillment).ship(order);
        if (shipment.kind === "refused") return cancel("fulfillment_failed");

        const mail = { messageId: order.orderId, text: `${shipment.shipmentId} is on its way` };
        context.serviceSendClient(notification).notify(mail);
        return { state: "completed", shipmentId: shipment.shipmentId };
      } catch (error) {
        if (error instanceof TerminalError) await compensate(undo);
        throw error;
      }
    },
  },
});
