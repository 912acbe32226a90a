import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { NatsConnection } from "@nats-io/transport-node";
import { OrderSchema } from "../gen/shop/order/v1/order_pb.ts";
import {
  checkoutState,
  commit,
  encode,
  MAX_BATCH_MESSAGES,
  message,
  newHeaders,
  newTrace,
  type Outgoing,
  orderCreated,
  orderShipped,
  payment,
} from "../nats/mod.ts";
import { streamOf } from "./export_records.ts";

/** The time that the first of the orders was placed. */
export const FIRST_PLACED_MS = Date.parse("2026-01-01T00:00:00Z");
const SPACING_MS = 1_000;

export interface WriteOptions {
  /** How many of them are there already. Default: 0. */
  readonly from?: number;
  readonly signal?: AbortSignal;
  /** Called now and then. */
  readonly onProgress?: (written: number) => void;
}

/**
 * Writes completed orders straight into the ledgers, as many as wanted and nothing else of them than what an export reads:
 * 40,000 in a few seconds.
 */
export async function writeOrders(
  connection: NatsConnection,
  count: number,
  { from: first = 0, signal, onProgress }: WriteOptions = {},
): Promise<void> {
  for (let from = first; from < count; from += MAX_BATCH_MESSAGES) {
    signal?.throwIfAborted();
    onProgress?.(from);
    const length = Math.min(MAX_BATCH_MESSAGES, count - from);
    const orders = Array.from({ length }, (_, index) => messagesOf(from + index));
    const kinds = [0, 1, 2, 3].map((kind) => orders.map((messages) => messages[kind] as Outgoing));
    await Promise.all(kinds.map((messages) => store(connection, messages)));
  }
}

/** Messages of one contract, as one batch. */
export async function store(connection: NatsConnection, messages: readonly Outgoing[]): Promise<void> {
  const [first] = messages;
  if (first === undefined) return;
  const entries = messages.map(({ subject, contract, value }) => {
    const headers = newHeaders();
    headers.set("traceparent", newTrace().traceparent);
    return { subject, data: encode(contract, value), headers };
  });
  const outcome = await commit(connection, streamOf(first.contract), entries, { timeoutMs: 60_000 });
  if (outcome.kind !== "committed") throw new Error(`Cannot write orders: ${JSON.stringify(outcome)}`);
}

/** Of the n-th order, what ORDER, CHECKOUT, PAYMENT and FULFILLMENT say. */
export function messagesOf(n: number): Outgoing[] {
  const orderId = `ord_${n.toString(16).padStart(32, "0")}`;
  const at = (seconds: number) => timestampFromMs(FIRST_PLACED_MS + n * SPACING_MS + seconds * 1_000);
  const order = create(OrderSchema, {
    orderId,
    customer: { id: `cus_${n}`, email: `${n}@example.com`, plan: "standard" },
    lines: [{ sku: "mug", quantity: 1 + (n % 3), unitPriceCents: 1_200n }],
    shippingAddress: {
      name: "Ada",
      line1: "12 High Street",
      city: "York",
      postalCode: "YO1 7HH",
      country: "GB",
    },
    shippingPriority: "standard",
    paymentToken: "tok_visa",
    totalCents: BigInt(1 + (n % 3)) * 1_200n,
    currency: "EUR",
    placedAt: at(0),
  });
  const course = ["created", "reserving", "screening", "charging", "fulfilling", "completed"];
  const history = course.map((state, index) => ({ state, at: at(index / 10), cause: "test" }));
  return [
    message(orderCreated, orderId, { order }),
    message(checkoutState, orderId, { order, state: "completed", history }),
    message(payment, orderId, {
      orderId,
      status: "captured",
      amountCents: order.totalCents,
      currency: "EUR",
      capturedCents: order.totalCents,
    }),
    message(orderShipped, orderId, {
      orderId,
      carrier: "sandbox",
      trackingNumber: `T${n}`,
      shippedAt: at(0.5),
    }),
  ];
}

/** Memory that is in use once all garbage is gone, in bytes. */
export function liveBytes(): number {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
