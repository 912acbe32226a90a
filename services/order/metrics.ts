import { Counter, type Registry } from "prom-client";
import { type Outgoing, orderCreated } from "../../nats/mod.ts";

/** Counts orders as they are placed. What it returns is told of each message once that is stored. */
export function countOrders(registry: Registry): (stored: Outgoing) => void {
  const placed = new Counter({
    name: "shop_orders_placed_total",
    help: "Orders that were stored, each once however often it was sent",
    registers: [registry],
  });
  return ({ contract }) => {
    if (contract === orderCreated) placed.inc();
  };
}
