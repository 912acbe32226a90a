import { checkoutState, checkoutTimer, findUntimed } from "../nats/mod.ts";
import { isEnd } from "../services/coordinator/decide.ts";
import { CHECKOUT } from "../services/order/status.ts";
import type { Shop } from "./connect.ts";

/** Ids of the orders that are live and have lost their timer, so that nothing but the coordinator's sweep would wake them up. */
export function untimedOrders(shop: Pick<Shop, "connection" | "jsm">): Promise<string[]> {
  const isLive = ({ state }: { state: string }) => !isEnd(state);
  return findUntimed(shop, { stream: CHECKOUT, state: checkoutState, timer: checkoutTimer, isLive });
}
