import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import { described, type Env, Problem, readOrderId, toTime } from "../../lib/mod.ts";
import { checkoutState, key, type Ledger, viewLast } from "../../nats/mod.ts";
import { type Checkout, getCheckout } from "./api.ts";

/** What `api.ts` describes. */
export function routes(
  app: Hono<Env>,
  { jsm, ledger }: { jsm: JetStreamManager; ledger: Ledger },
): Hono<Env> {
  return app.get("/checkouts/:order", described(getCheckout), async (context) => {
    const orderId = readOrderId(context.req.param("order"), unknownCheckout);
    const checkout = await viewLast(jsm, ledger.stream, key(checkoutState, orderId));
    if (checkout === undefined) throw unknownCheckout(orderId);
    const { state, reason, deadline, deferred, compensated } = checkout;
    const answer: Checkout = {
      order_id: orderId,
      state,
      ...(reason && { reason }),
      ...(deadline && { deadline: toTime(deadline) }),
      deferred: deferred.map(({ event }) => event),
      compensated,
    };
    return context.json(answer);
  });
}

function unknownCheckout(orderId: string): Problem {
  return new Problem(404, "unknown-checkout", {
    title: "Unknown checkout",
    detail: `No checkout of order ${JSON.stringify(orderId)} has begun`,
  });
}
