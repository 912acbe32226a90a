import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Advance,
  type Contract,
  checkoutState,
  type MessagePlace,
  orderCreated,
  type Projected,
  type Projection,
  streamHolding,
} from "../../nats/mod.ts";

/** Of every message of {@linkcode said}, so many milliseconds after it. */
export const noon = new Date("2026-01-31T12:00:00Z");

/** A message as the streams hold it. */
export function said<S extends DescMessage>(
  contract: Contract<S>,
  id: string,
  init: MessageInitShape<S>,
  options: { seq: number; afterMs?: number; redriven?: boolean },
): Projected {
  const { seq, afterMs = 0, redriven = false } = options;
  return {
    contract,
    id,
    value: create(contract.schema, init),
    stream: streamHolding(contract)?.name ?? "",
    seq,
    storedAt: new Date(noon.getTime() + afterMs),
    redriven,
  };
}

/** What a store is to store at a time. */
export interface TestBatch {
  readonly messages: readonly Projected[];
  readonly parked: readonly MessagePlace[];
  readonly advance: Advance;
}

/** What a consumer of each stream delivers next: from its position on. */
export function batchOf(
  messages: readonly Projected[],
  options: Partial<Pick<TestBatch, "parked">> & { from?: Readonly<Record<string, number>> } = {},
): TestBatch {
  const { from = {}, parked = [] } = options;
  const advance = new Map<string, { from: number; to: number }>();
  for (const { stream, seq } of [...messages, ...parked]) {
    const to = Math.max(seq, advance.get(stream)?.to ?? 0);
    advance.set(stream, { from: from[stream] ?? 0, to });
  }
  return { messages, parked, advance };
}

export function apply(projection: Projection, { messages, parked, advance }: TestBatch): Promise<void> {
  const batch = projection.begin();
  for (const message of messages) batch.add(message);
  for (const place of parked) batch.park(place);
  return batch.store(advance);
}

/** An order for two mugs. */
export function anOrder(orderId: string, changes: { plan?: string; placedAfterMs?: number } = {}) {
  const { plan = "standard", placedAfterMs = 0 } = changes;
  return {
    orderId,
    customer: { id: "cus_1", email: "ada@example.com", plan },
    lines: [{ sku: "mug", quantity: 2, unitPriceCents: 1_200n }],
    shippingAddress: { country: "GB" },
    shippingPriority: "standard",
    totalCents: 2_400n,
    currency: "EUR",
    placedAt: timestampFromDate(new Date(noon.getTime() + placedAfterMs)),
  };
}

export function placed(orderId: string, options: { seq: number }): Projected {
  return said(orderCreated, orderId, { order: anOrder(orderId) }, options);
}

/** A snapshot of a checkout that has come through `states`, a second in each but the last. */
export function standing(
  orderId: string,
  states: readonly string[],
  options: { seq: number; reason?: string; redriven?: boolean },
): Projected {
  const { reason = "", ...delivery } = options;
  const history = states.map((state, index) => ({
    state,
    at: timestampFromDate(new Date(noon.getTime() + index * 1_000)),
    cause: "order.created",
  }));
  const state = states.at(-1) ?? "";
  return said(checkoutState, orderId, { order: anOrder(orderId), state, reason, history }, delivery);
}
