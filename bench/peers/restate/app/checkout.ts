import { type Context, service, TerminalError } from "@restatedev/restate-sdk";
import {
  type CancelReason,
  type CheckoutRequest,
  type CheckoutResult,
  charge,
  isFlagged,
  priceCents,
  refund,
  sendMail,
  ship,
} from "../../sandbox.ts";
import { inventory } from "./inventory.ts";

/**
 * A checkout as a saga in one handler: each effect is a durable step (`ctx.run`), the stock an object that is called.
 */
export const checkout = service({
  name: "Checkout",
  handlers: {
    async run(context: Context, order: CheckoutRequest): Promise<CheckoutResult> {
      const stock = context.objectClient(inventory, order.sku);
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
        const charged = await context.run("charge", () => charge(request));
        if (charged.kind === "declined") return cancel("payment_declined");
        undo.push(() => context.run("refund", () => refund(charged.chargeId)));

        const shipment = await context.run("ship", () => ship(order));
        if (shipment.kind === "refused") return cancel("fulfillment_failed");

        await context.run("notify", () => sendMail(order.orderId, `${shipment.shipmentId} is on its way`));
        return { state: "completed", shipmentId: shipment.shipmentId };
      } catch (error) {
        // Any other error is tried again by Restate, from the step that failed.
        if (error instanceof TerminalError) await compensate(undo);
        throw error;
      }
    },
  },
});

/** Undoes what was done, the last thing first. */
export async function compensate(undo: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const step of undo.toReversed()) await step();
}
