import type { JetStreamManager } from "@nats-io/jetstream";
import { toTime } from "../../lib/mod.ts";
import {
  key,
  payment,
  paymentWaiting,
  refundPayment,
  subjectOf,
  viewLast,
  waitingId,
} from "../../nats/mod.ts";
import type * as api from "./api.ts";
import type { Standing } from "./status.ts";

/** The ledger of the payment service, which this service views and never decides upon. */
const PAYMENT = "PAYMENT";

/** Whom the refund of an order waits for and why, undefined if it waits for nobody. A moment old at most. */
export async function findRefund(
  { jsm }: { jsm: JetStreamManager },
  { order: { orderId }, state }: Standing,
): Promise<api.Refund | undefined> {
  if (state !== "refunding") return undefined;
  const waitsAs = waitingId(subjectOf(refundPayment, orderId));
  const [paid, waiting] = await Promise.all([
    viewLast(jsm, PAYMENT, key(payment, orderId)),
    viewLast(jsm, PAYMENT, key(paymentWaiting, waitsAs)),
  ]);
  if (paid !== undefined && paid.refundRefused !== "") {
    return { waits_for: "person", reason: paid.refundRefused, since: toTime(paid.refundRefusedAt) };
  }
  if (waiting?.nextTryAt === undefined) return undefined;
  const { reason, tries, firstTriedAt, nextTryAt } = waiting;
  return {
    waits_for: "provider",
    reason,
    since: toTime(firstTriedAt),
    tries,
    next_try_at: toTime(nextTryAt),
  };
}
