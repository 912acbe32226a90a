import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { NatsConnection } from "@nats-io/transport-node";
import { CheckoutStateSchema } from "../gen/shop/checkout/v1/checkout_state_pb.ts";
import { exampleOrder } from "../tools/example_order.ts";
import { openPoster } from "./http.ts";
import type { Target } from "./target.ts";

/** Places orders with a shop and learns of their ends. */
export interface ShopOrders extends AsyncDisposable {
  readonly checkout: Target["checkout"];
  /** As {@linkcode checkout}, for one order of several skus. */
  place(skus: readonly string[], key: string): Promise<{ acceptedMs: number; endedMs: number }>;
}

/** How an order ended, and when, by this process's clock. */
interface End {
  readonly at: number;
  readonly snapshot: Uint8Array;
}

const watched = "watch.checkout.state.";

/**
 * One subscription to what the server says of each transition, for all orders: nothing is polled.
 * @param url Base URL of the order service.
 * @param connection The operator's. It stays open.
 */
export async function openShopOrders(url: string, connection: NatsConnection): Promise<ShopOrders> {
  const poster = openPoster(url, "/orders");
  const waiting = new Map<string, (end: End) => void>();
  /** Ends that came before the answer to the order's POST was read. */
  const early = new Map<string, End>();
  const subscription = connection.subscribe(`${watched}*`, {
    callback: (_error, { subject, data }) => {
      const state = stateOf(data);
      if (state !== "completed" && state !== "cancelled") return;
      const id = subject.slice(watched.length);
      const end = { at: performance.now(), snapshot: data };
      const resolve = waiting.get(id);
      if (resolve === undefined) early.set(id, end);
      else {
        waiting.delete(id);
        resolve(end);
      }
    },
  });
  // The server knows of the subscription before the first order is placed.
  await connection.flush();

  const endOf = (id: string): End | Promise<End> => {
    const end = early.get(id);
    if (end === undefined) return new Promise((resolve) => waiting.set(id, resolve));
    early.delete(id);
    return end;
  };
  const place = async (body: Buffer, key: string) => {
    const began = performance.now();
    const { status, body: answer } = await poster.post(body, key);
    const acceptedMs = performance.now() - began;
    if (status !== 202) throw new RefusedError(status, answer);
    const id = orderIdOf(answer);
    const { at, snapshot } = await endOf(id);
    if (stateOf(snapshot) !== "completed") throw new Error(cancelled(id, snapshot));
    return { acceptedMs, endedMs: at - began };
  };
  const bodies = new Map<string, Buffer>();
  const bodyFor = (sku: string) => {
    const body = bodies.get(sku) ?? orderBody([sku]);
    bodies.set(sku, body);
    return body;
  };
  return {
    checkout: ({ sku, key }) => place(bodyFor(sku), key),
    place: (skus, key) => place(orderBody(skus), key),
    async [Symbol.asyncDispose]() {
      subscription.unsubscribe();
      await poster[Symbol.asyncDispose]();
    },
  };
}

/** A POST was answered with something else than 202. */
export class RefusedError extends Error {
  override name = "RefusedError";
  readonly status: number;

  constructor(status: number, answer: string) {
    super(`Refused with ${status}: ${answer.slice(0, 500)}`);
    this.status = status;
  }
}

/** The body of a `POST /orders` for one of each of `skus`. */
export function orderBody(skus: readonly string[]): Buffer {
  return Buffer.from(JSON.stringify({ ...exampleOrder, lines: skus.map((sku) => ({ sku, quantity: 1 })) }));
}

/** Field `state` of a `CheckoutState`, and nothing else of it: this is done for every transition of every order. */
export function stateOf(snapshot: Uint8Array): string {
  const reader = new BinaryReader(snapshot);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === CheckoutStateSchema.field.state.number) return reader.string();
    reader.skip(wireType, field);
  }
  return "";
}

/** `order_id` of the answer to a POST. */
function orderIdOf(answer: string): string {
  const name = '"order_id":"';
  const from = answer.indexOf(name) + name.length;
  if (from < name.length) throw new Error(`Cannot find an order id in ${answer.slice(0, 500)}`);
  return answer.slice(from, answer.indexOf('"', from));
}

function cancelled(id: string, snapshot: Uint8Array): string {
  const { state, reason } = fromBinary(CheckoutStateSchema, snapshot);
  return `Order ended ${state} (${reason}), for example ${id}`;
}
