import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { checkoutCancelled, checkoutCompleted, checkoutState, message } from "../../nats/mod.ts";
import { createOrderMetrics } from "./metrics.ts";
import { reasons } from "./table.ts";

const order = { orderId: "o1", placedAt: timestampFromMs(1_000) };
const at = timestampFromMs(3_500);

async function text(registry: Registry): Promise<string[]> {
  return (await registry.metrics()).split("\n");
}

it("createOrderMetrics() begins with 0 for every outcome and reason, and counts each end once", async () => {
  const registry = new Registry();
  const stored = createOrderMetrics(registry);
  const lines = await text(registry);
  expect(lines).toContain('shop_orders_ended_total{outcome="completed",reason=""} 0');
  for (const reason of reasons) {
    expect(lines).toContain(`shop_orders_ended_total{outcome="cancelled",reason="${reason}"} 0`);
  }

  stored(message(checkoutState, "o1", { order, state: "completed" }));
  stored(message(checkoutCompleted, "o1", { order, completedAt: at }));
  stored(message(checkoutCancelled, "o2", { order, cancelledAt: at, reason: "timed_out" }));
  const after = await text(registry);
  expect(after).toContain('shop_orders_ended_total{outcome="completed",reason=""} 1');
  expect(after).toContain('shop_orders_ended_total{outcome="cancelled",reason="timed_out"} 1');
  expect(after).toContain('shop_checkout_duration_seconds_sum{outcome="completed"} 2.5');
});

it("createOrderMetrics() makes no label of a reason that it does not know", async () => {
  const registry = new Registry();
  createOrderMetrics(registry)(message(checkoutCancelled, "o1", { order, reason: "o1" }));
  expect(await text(registry)).toContain('shop_orders_ended_total{outcome="cancelled",reason=""} 1');
});
