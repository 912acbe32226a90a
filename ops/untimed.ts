import { checkoutState, checkoutTimer, findUntimed } from "../nats/mod.ts";
import type { Shop } from "./connect.ts";

/** Ids of the orders that are live and have lost their timer, so that nothing but the coordinator's sweep would wake them up. */
export function untimedOrders(shop: Pick<Shop, "connection" | "jsm">): Promise<string[]> {
  const isLive = ({ state }: { state: string }) => state !== "completed" && state !== "cancelled";
  return findUntimed(shop, { stream: "CHECKOUT", state: checkoutState, timer: checkoutTimer, isLive });
}
