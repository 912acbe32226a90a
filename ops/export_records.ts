import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { NatsConnection } from "@nats-io/transport-node";
import type { CheckoutStateSchema } from "../gen/shop/checkout/v1/checkout_state_pb.ts";
import type { OrderShippedSchema } from "../gen/shop/fulfillment/v1/order_shipped_pb.ts";
import type { OrderSchema } from "../gen/shop/order/v1/order_pb.ts";
import type { PaymentSchema } from "../gen/shop/payment/v1/payment_pb.ts";
import {
  type Contract,
  checkoutState,
  decode,
  type OpenLetters,
  orderCreated,
  orderShipped,
  payment,
  readLasts,
  readTrace,
  type StoredMessage,
  splitSubject,
  streamHolding,
  subjectOf,
  traceId,
} from "../nats/mod.ts";

/** What the ledgers say of one order. */
export interface OrderRecord {
  readonly order: MessageShape<typeof OrderSchema>;
  /** Undefined while the coordinator has not seen the order. */
  readonly checkout?: MessageShape<typeof CheckoutStateSchema> | undefined;
  /** Undefined while payment was asked for nothing. */
  readonly payment?: MessageShape<typeof PaymentSchema> | undefined;
  /** Undefined unless a parcel is with a carrier. */
  readonly shipped?: MessageShape<typeof OrderShippedSchema> | undefined;
  /** Dead letters that hold it up. Default: none. */
  readonly stuckBy?: readonly string[];
  /** Undefined if the message that created it names none. */
  readonly traceId?: string | undefined;
}

/** Which orders are wanted. */
export interface OrderFilter {
  /** Placed at this time or later. */
  readonly from?: Date | undefined;
  /** Placed before this time. */
  readonly to?: Date | undefined;
  /** In one of these states. Default: in any. */
  readonly states?: readonly string[] | undefined;
}

export interface Records {
  /** In the order of the messages that created them. */
  readonly records: readonly OrderRecord[];
  /** A text for each message that is left out, or an order's row is made without, since it is none of its schema. */
  readonly unreadable: readonly string[];
}

/** Asks the servers, and again if they do not answer. */
export type Ask = <T>(question: () => Promise<T>) => Promise<T>;

/** Where an order stands that the coordinator has not seen. */
const UNSEEN = "created";

export function stateOf({ checkout }: Pick<OrderRecord, "checkout">): string {
  return checkout?.state ?? UNSEEN;
}

/**
 * The orders that some messages of the order service's ledger have created, with what the other ledgers hold last of each:
 * three requests for a page of them, and what is new of dead letters.
 *
 * @param messages {@linkcode MAX_PAGE} at most.
 * @throws {Error} What `ask` throws.
 */
export async function readRecords(
  connection: NatsConnection,
  messages: readonly StoredMessage[],
  { filter, letters, ask }: { filter: OrderFilter; letters: OpenLetters; ask: Ask },
): Promise<Records> {
  const unreadable: string[] = [];
  const read = <S extends DescMessage>(contract: Contract<S>, message: StoredMessage) => {
    try {
      return decode(contract, message.data);
    } catch {
      unreadable.push(`message ${message.seq} of ${streamOf(contract)} is no ${contract.schema.typeName}`);
      return undefined;
    }
  };
  /** By order. */
  const readLast = async <S extends DescMessage>(contract: Contract<S>, orders: readonly OrderRecord[]) => {
    const subjects = orders.map(({ order }) => subjectOf(contract, order.orderId));
    const found = await ask(() => readLasts(connection, streamOf(contract), subjects));
    return subjects.map((subject) => {
      const message = found.get(subject);
      return message && read(contract, message);
    });
  };

  const placed: OrderRecord[] = [];
  for (const message of messages) {
    if (splitSubject(message.subject).prefix !== orderCreated.subject) continue;
    const order = read(orderCreated, message)?.order;
    if (order === undefined || !isWithin(order, filter)) continue;
    if (order.orderId !== splitSubject(message.subject).id) {
      unreadable.push(
        `message ${message.seq} of ${streamOf(orderCreated)} is about another order than its subject`,
      );
      continue;
    }
    const trace = readTrace(message.headers.get("traceparent"), undefined);
    placed.push({ order, traceId: trace && traceId(trace) });
  }
  const checkouts = await readLast(checkoutState, placed);
  const seen = placed.map((record, index) => ({ ...record, checkout: checkouts[index] }));
  const wanted = seen.filter((record) => filter.states?.includes(stateOf(record)) ?? true);
  const [payments, shipments] = await Promise.all([
    readLast(payment, wanted),
    readLast(orderShipped, wanted),
  ]);
  await ask(() => letters.refresh());
  const records = wanted.map((record, i) => {
    const stuckBy = letters
      .holding({ orderId: record.order.orderId, state: stateOf(record) })
      .map(({ id }) => id);
    return { ...record, stuckBy, payment: payments[i], shipped: shipments[i] };
  });
  return { records, unreadable };
}

/** @throws {RangeError} If the topology has no stream for it. */
export function streamOf(contract: Contract): string {
  const stream = streamHolding(contract);
  if (stream === undefined) throw new RangeError(`Cannot find ${contract.subject}: no stream stores it`);
  return stream.name;
}

function isWithin({ placedAt }: OrderRecord["order"], { from, to }: OrderFilter): boolean {
  // An order always says when it was placed. One that does not is not lost for it.
  if (placedAt === undefined) return true;
  const ms = timestampMs(placedAt);
  return ms >= (from?.getTime() ?? ms) && (to === undefined || ms < to.getTime());
}
