import type { MessageShape } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import type { PaymentSchema } from "../../gen/shop/payment/v1/payment_pb.ts";
import { described, type Env, Problem, readOrderId } from "../../lib/mod.ts";
import { key, type Ledger, payment, viewLast } from "../../nats/mod.ts";
import { getPayment, type Payment } from "./api.ts";

/** What `api.ts` describes. */
export function routes(
  app: Hono<Env>,
  { jsm, ledger }: { jsm: JetStreamManager; ledger: Ledger },
): Hono<Env> {
  return app.get("/payments/:order", described(getPayment), async (context) => {
    const orderId = readOrderId(context.req.param("order"), unknownPayment);
    const found = await viewLast(jsm, ledger.stream, key(payment, orderId));
    if (found === undefined) throw unknownPayment(orderId);
    return context.json(toJson(found));
  });
}

function unknownPayment(orderId: string): Problem {
  return new Problem(404, "unknown-payment", {
    title: "Unknown payment",
    detail: `There is no payment of order ${JSON.stringify(orderId)}`,
  });
}

/** Field by field: the token is not among them. */
function toJson(found: MessageShape<typeof PaymentSchema>): Payment {
  return {
    order_id: found.orderId,
    status: found.status,
    amount_cents: Number(found.amountCents),
    currency: found.currency,
    captured_cents: Number(found.capturedCents),
    refunded_cents: Number(found.refundedCents),
    // What is empty in the state is left out.
    capture_id: found.captureId || undefined,
    refund_id: found.refundId || undefined,
    decline_code: found.declineCode || undefined,
  };
}
