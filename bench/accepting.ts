import { openPoster } from "./http.ts";
import { orderBody, RefusedError } from "./shop_orders.ts";
import { skus, type Target } from "./target.ts";

/** POSTs orders and takes each as ended when it is accepted. */
export interface Accepting extends AsyncDisposable {
  readonly checkout: Target["checkout"];
  /** As {@linkcode checkout}, for one order of several skus. */
  place(skus: readonly string[], key: string): ReturnType<Target["checkout"]>;
}

/** @param url Base URL of a server with `POST /orders`. */
export function openAccepting(url: string): Accepting {
  const poster = openPoster(url, "/orders");
  const bodies = new Map(skus.map((sku) => [sku, orderBody([sku])]));
  const send = async (order: Buffer, key: string) => {
    const began = performance.now();
    const { status, body } = await poster.post(order, key);
    const acceptedMs = performance.now() - began;
    if (status !== 202) throw new RefusedError(status, body);
    return { acceptedMs, endedMs: acceptedMs };
  };
  return {
    checkout: ({ sku, key }) => send(bodies.get(sku) ?? orderBody([sku]), key),
    place: (several, key) => send(orderBody(several), key),
    [Symbol.asyncDispose]: () => poster[Symbol.asyncDispose](),
  };
}
