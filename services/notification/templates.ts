import type { MessageShape } from "@bufbuild/protobuf";
import type { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import { formatMoney } from "../../lib/mod.ts";

type Order = MessageShape<typeof OrderSchema>;

export interface Template {
  subject: string;
  /** Plain text, in lines that end in `\n`. */
  text: string;
}

export function orderReceived(order: Order): Template {
  return {
    subject: `We have your order ${order.orderId}`,
    text: letter(order, [
      "thank you for your order. We have it, and write again as soon as it is done.",
      summary(order),
    ]),
  };
}

export function orderCompleted(order: Order): Template {
  if (order.customer?.plan === "trial") {
    return {
      subject: `Your trial is active (order ${order.orderId})`,
      text: letter(order, ["your trial is active. There is nothing to wait for.", summary(order)]),
    };
  }
  const city = oneLine(order.shippingAddress?.city ?? "");
  return {
    subject: `Your order ${order.orderId} is on its way`,
    text: letter(order, [
      `your order is paid, packed and on its way${city && ` to ${city}`}.`,
      summary(order),
    ]),
  };
}

export function orderCancelled(order: Order, reason: string): Template {
  return {
    subject: `Your order ${order.orderId} is cancelled`,
    text: letter(order, [`your order is cancelled: ${explain(reason)}`, summary(order)]),
  };
}

const notCharged = "You have not been charged.";
const refunded = "If you have been charged, the whole amount is on its way back to you.";

/** Why an order ended without a sale, and what became of the money, by the reason of the event. */
const reasons: Readonly<Record<string, string>> = {
  out_of_stock: `we no longer have all of what you ordered. ${notCharged}`,
  payment_declined: `your bank or card issuer declined the payment. ${notCharged}`,
  review_rejected: `after having looked at it, we cannot accept it. ${notCharged}`,
  review_expired: `we could not check it in time. ${notCharged}`,
  customer_request: `you asked us to. ${refunded}`,
  fulfillment_failed: `we could not get it ready to be shipped, and are sorry for it. ${refunded}`,
  timed_out: `it took us too long, and are sorry for it. ${refunded}`,
};

function explain(reason: string): string {
  const known = Object.hasOwn(reasons, reason) ? reasons[reason] : undefined;
  return known ?? `something went wrong on our side, and we are sorry for it. ${refunded}`;
}

function letter({ shippingAddress }: Order, paragraphs: readonly string[]): string {
  const name = oneLine(shippingAddress?.name ?? "");
  return `${[name === "" ? "Hello," : `Hello ${name},`, ...paragraphs, "Your shop"].join("\n\n")}\n`;
}

/** The lines of the order and their total. */
function summary({ orderId, lines, totalCents, currency }: Order): string {
  const items = lines.map(({ sku, quantity, unitPriceCents }) => {
    return `  ${quantity} × ${oneLine(sku)}: ${formatMoney(BigInt(quantity) * unitPriceCents, currency)}`;
  });
  return [`Order ${orderId}`, ...items, `  Total: ${formatMoney(totalCents, currency)}`].join("\n");
}

/** What a customer typed, on one line and not endless. */
function oneLine(text: string): string {
  return text
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .slice(0, 100);
}
