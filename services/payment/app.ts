import type { JetStreamManager } from "@nats-io/jetstream";
import type { Hono } from "hono";
import {
  described,
  type Env,
  operatorOnly,
  Problem,
  readBody,
  readOrderId,
  readQuery,
  requestDeadline,
  toCursor,
  toTime,
} from "../../lib/mod.ts";
import { key, type Ledger, payment, refundRefused, subjectOf, viewLast, viewQueue } from "../../nats/mod.ts";
import * as api from "./api.ts";
import type { Payment } from "./decide.ts";
import { settle } from "./settlement.ts";

interface Dependencies {
  jsm: JetStreamManager;
  ledger: Ledger;
  operatorToken: string;
  /** Default: the system's clock. */
  now?: () => Date;
}

/** What `api.ts` describes: refunds that wait for a person, for operators. */
export function routes(app: Hono<Env>, dependencies: Dependencies): Hono<Env> {
  const { jsm, ledger, operatorToken, now = () => new Date() } = dependencies;
  const operator = operatorOnly(operatorToken);
  return app
    .get("/payments/:order", described(api.getPayment), async (context) => {
      const orderId = readOrderId(context.req.param("order"), unknownPayment);
      const found = await viewLast(jsm, ledger.stream, key(payment, orderId));
      if (found === undefined) throw unknownPayment(orderId);
      return context.json(toJson(found));
    })
    .get("/refunds", described(api.listRefused), operator, async (context) => {
      const { cursor, limit } = readQuery(context.req.query(), api.listRefused.query);
      const queue = { index: refundRefused, state: payment, from: cursor, limit };
      const { states, next } = await viewQueue(jsm, ledger.stream, queue);
      const refunds = states.flatMap((found) => (found?.status === "refunding" ? [toJson(found)] : []));
      return context.json({ refunds, ...(next !== undefined && { next_cursor: toCursor(next) }) });
    })
    .post("/payments/:order/settlement", described(api.settleRefund), operator, async (context) => {
      const orderId = readOrderId(context.req.param("order"), unknownPayment);
      const { settled_by, note, amount_cents } = await readBody(context.req.raw, api.settleRefund.body);
      const settling = { settledBy: settled_by, note, amountCents: BigInt(amount_cents) };
      const settled = await ledger.execute(
        {
          keys: [key(payment, orderId)],
          trace: context.var.trace,
          continues: subjectOf(payment, orderId),
          decide: (view) => settle(view, orderId, { ...settling, now: now() }),
        },
        { signal: requestDeadline() },
      );
      switch (settled.kind) {
        case "settled":
          context.var.log.info({ order_id: orderId, settled_by, amount_cents }, "refund settled by a person");
          return context.json(toJson(settled.payment));
        case "unknown":
          throw unknownPayment(orderId);
        case "refused":
          throw new Problem(409, "refund-not-refused", {
            title: "No refund to settle",
            detail: `The payment of order ${orderId} cannot be settled: ${settled.detail}`,
          });
        default:
          return settled satisfies never;
      }
    });
}

function unknownPayment(orderId: string): Problem {
  return new Problem(404, "unknown-payment", {
    title: "Unknown payment",
    detail: `There is no payment of order ${JSON.stringify(orderId)}`,
  });
}

/** Field by field: the token is not among them. */
function toJson(found: Payment): api.Payment {
  const { refundRefused: code, settlement } = found;
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
    refund_refused: code === "" ? undefined : { code, at: toTime(found.refundRefusedAt) },
    settlement: settlement && {
      settled_by: settlement.settledBy,
      note: settlement.note,
      amount_cents: Number(settlement.amountCents),
      settled_at: toTime(settlement.settledAt),
    },
  };
}
