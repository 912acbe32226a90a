import { DBOS } from "@dbos-inc/dbos-sdk";
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
import type { Inventory } from "./inventory.ts";

/** A step that fails is tried again, and the checkout goes on from there. */
const tries = { retriesAllowed: true, maxAttempts: 10, intervalSeconds: 0.5 };

/** The checkout as a workflow. Each effect is a step, whose result DBOS records before the next one begins. */
export function registerCheckout(inventory: Inventory) {
  async function checkout(order: CheckoutRequest): Promise<CheckoutResult> {
    const undo: (() => Promise<unknown>)[] = [];
    const cancel = async (reason: CancelReason): Promise<CheckoutResult> => {
      await compensate(undo);
      return { state: "cancelled", reason };
    };
    try {
      if (!(await step("reserve", () => inventory.reserve(order.orderId, order.sku)))) {
        return cancel("out_of_stock");
      }
      undo.push(() => step("release", () => inventory.release(order.orderId)));

      if (isFlagged(order.address)) return cancel("address_flagged");

      const request = { idempotencyKey: order.orderId, token: order.paymentToken, amountCents: priceCents };
      const charged = await step("charge", () => charge(request));
      if (charged.kind === "declined") return cancel("payment_declined");
      undo.push(() => step("refund", () => refund(charged.chargeId)));

      const shipment = await step("ship", () => ship(order));
      if (shipment.kind === "refused") return cancel("fulfillment_failed");

      await step("notify", () => sendMail(order.orderId, `${shipment.shipmentId} is on its way`));
      return { state: "completed", shipmentId: shipment.shipmentId };
    } catch (error) {
      // A step has failed for good.
      await compensate(undo);
      throw error;
    }
  }
  return DBOS.registerWorkflow(checkout, { name: "checkout" });
}

function step<Result>(name: string, effect: () => Result | Promise<Result>): Promise<Result> {
  return DBOS.runStep(async () => effect(), { name, ...tries });
}

/** Undoes what was done, the last thing first. */
async function compensate(undo: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const one of undo.toReversed()) await one();
}
