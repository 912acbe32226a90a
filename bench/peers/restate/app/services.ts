import { type Context, service } from "@restatedev/restate-sdk";
import {
  type Charge,
  type ChargeRequest,
  type CheckoutRequest,
  charge,
  refund,
  type Shipment,
  sendMail,
  ship,
} from "../../sandbox.ts";

/** The participants as services of their own, each of which could be deployed by another team. */
export const payment = service({
  name: "Payment",
  handlers: {
    charge: (context: Context, request: ChargeRequest): Promise<Charge> =>
      context.run("charge", () => charge(request)),
    refund: (context: Context, chargeId: string): Promise<string> =>
      context.run("refund", () => refund(chargeId)),
  },
});

export const fulfillment = service({
  name: "Fulfillment",
  handlers: {
    ship: (context: Context, order: CheckoutRequest): Promise<Shipment> =>
      context.run("ship", () => ship(order)),
  },
});

export const notification = service({
  name: "Notification",
  handlers: {
    notify: (context: Context, mail: { messageId: string; text: string }): Promise<void> =>
      context.run("mail", () => sendMail(mail.messageId, mail.text)),
  },
});
