import type { MessageShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { CheckoutCancelledSchema } from "../../gen/shop/checkout/v1/checkout_cancelled_pb.ts";
import type { CheckoutCompletedSchema } from "../../gen/shop/checkout/v1/checkout_completed_pb.ts";
import { checkoutCancelled, checkoutCompleted, type Outgoing } from "../../nats/mod.ts";
import { type Reason, reasons } from "./table.ts";

type Outcome = "completed" | "cancelled";

/** From the 20 ms of a quiet machine to reviews that take days. */
const CHECKOUT_BUCKETS_S = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600, 86_400];

/**
 * Counts orders as they end. What it returns is told of each message once that is stored: every end is one message, so that
 * redeliveries and retries count nothing twice.
 */
export function createOrderMetrics(registry: Registry): (stored: Outgoing) => void {
  const registers = [registry];
  const ended = new Counter({
    name: "shop_orders_ended_total",
    help: "Orders that ended, by outcome and, of a cancelled one, its reason",
    labelNames: ["outcome", "reason"] as const,
    registers,
  });
  const seconds = new Histogram({
    name: "shop_checkout_duration_seconds",
    help: "Time from the placing of an order to its end, by outcome",
    labelNames: ["outcome"] as const,
    buckets: CHECKOUT_BUCKETS_S,
    registers,
  });
  ended.inc({ outcome: "completed", reason: "" }, 0);
  for (const reason of reasons) ended.inc({ outcome: "cancelled", reason }, 0);
  for (const outcome of ["completed", "cancelled"] as const) seconds.zero({ outcome });

  return ({ contract, value }) => {
    let outcome: Outcome;
    let reason = "";
    let at: Parameters<typeof timestampMs>[0] | undefined;
    let order: MessageShape<typeof CheckoutCompletedSchema>["order"];
    if (contract === checkoutCompleted) {
      outcome = "completed";
      ({ completedAt: at, order } = value as MessageShape<typeof CheckoutCompletedSchema>);
    } else if (contract === checkoutCancelled) {
      outcome = "cancelled";
      ({ cancelledAt: at, order, reason } = value as MessageShape<typeof CheckoutCancelledSchema>);
    } else {
      return;
    }
    ended.inc({ outcome, reason: isReason(reason) ? reason : "" });
    if (at === undefined || order?.placedAt === undefined) return;
    seconds.observe({ outcome }, Math.max(0, timestampMs(at) - timestampMs(order.placedAt)) / 1_000);
  };
}

function isReason(text: string): text is Reason {
  return (reasons as readonly string[]).includes(text);
}

/** Says how many live checkouts had lost their timer when the sweep last looked. */
export function createUntimedMetric(registry: Registry): (count: number) => void {
  const untimed = new Gauge({
    name: "shop_checkouts_untimed",
    help: "Live checkouts that had lost their timer when the sweep last looked; it sets it anew",
    registers: [registry],
  });
  untimed.set(0);
  return (count) => untimed.set(count);
}
