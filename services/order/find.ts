import type { DescMessage } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import {
  type Contract,
  checkoutCancelled,
  checkoutCompleted,
  checkoutState,
  checkoutTimer,
  key,
  ledgerOf,
  type OpenLetters,
  orderCreated,
  type orderStates,
  splitSubject,
  type Viewed,
  viewLast,
  viewMany,
  viewPage,
} from "../../nats/mod.ts";
import { CHECKOUT, fromCheckout, justCreated, type Standing, withStuck } from "./status.ts";

/** Messages that one page looks at in search of orders in the state asked for. */
const MAX_SCANNED = 500;
const ORDER = ledgerOf("order");
/** The consumer by which the coordinator learns of orders. */
const COORDINATOR = "coordinator";

/** What lists are read from: streams that the credential may view. */
export interface ListSource {
  readonly jsm: JetStreamManager;
  readonly letters: OpenLetters;
}

/** Which orders; what is not said does not matter. */
export interface OrderFilter {
  readonly state?: (typeof orderStates)[number] | undefined;
  /** Whether only those that dead letters hold up. Default false. */
  readonly stuck?: boolean;
}

export interface Page {
  found: Standing[];
  /** Sequence at which the next page begins, undefined if there is nothing more yet. */
  next: number | undefined;
}

interface Range {
  readonly from: number;
  readonly limit: number;
}

/**
 * A page of orders, oldest first. It costs by what it looks at ({@linkcode MAX_SCANNED} messages at most), never by the length
 * of the history. It may therefore hold fewer orders than `limit`, even none, and there is more for as long as there is a
 * `next`. That is a place in a stream: it belongs to the filter that it came with. Pages are a moment old; an order that changes
 * its state while somebody turns the pages may be missed by one list and seen by the next. Orders that wait are listed by
 * their timers, and one whose timer is set again moves to the end: it may be seen twice. So may one that is stuck and whose
 * message is parked again.
 */
export async function findOrders(source: ListSource, filter: OrderFilter, range: Range): Promise<Page> {
  await source.letters.refresh();
  const { state, stuck } = filter;
  const page = stuck === true ? await held(source, state, range) : await inState(source, state, range);
  const found = await Promise.all(page.found.map((standing) => withStuck(source.letters, standing)));
  return { ...page, found };
}

function inState(source: ListSource, state: OrderFilter["state"], range: Range): Promise<Page> {
  switch (state) {
    case undefined:
      return placed(source, range);
    case "created":
      return waiting(source, range);
    case "completed":
      return turn(source, checkoutCompleted, {
        ...range,
        stream: CHECKOUT,
        scan: range.limit,
        stand: each(({ value: { order } }) => order && { order, state, reason: "", history: [] }),
      });
    case "cancelled":
      return turn(source, checkoutCancelled, {
        ...range,
        stream: CHECKOUT,
        scan: range.limit,
        stand: each(({ value: { order, reason } }) => order && { order, state, reason, history: [] }),
      });
    default:
      return live(source, state, range);
  }
}

/** All orders, in the order in which they were placed. */
function placed(source: ListSource, range: Range): Promise<Page> {
  return turn(source, orderCreated, {
    ...range,
    stream: ORDER,
    scan: range.limit,
    stand: async (viewed) => {
      const standings = await viewStandings(source, viewed);
      return viewed.map(({ value: { order } }, index) => standings[index] ?? (order && justCreated(order)));
    },
  });
}

/**
 * Orders that the coordinator has not begun with: those beyond its ack floor, and those before it whose message it has parked,
 * which it acknowledges.
 */
async function waiting(source: ListSource, { from, limit }: Range): Promise<Page> {
  const { jsm, letters } = source;
  const consumer = await jsm.consumers.info(ORDER, COORDINATOR);
  const floor = consumer.ack_floor.stream_seq;
  const given = [...letters.orderIds]
    .flatMap((orderId) => letters.of(orderId))
    .filter(({ service, type }) => service === COORDINATOR && type === orderCreated.subject)
    .filter(({ sequence }) => sequence >= from && sequence <= floor)
    .sort((one, other) => one.sequence - other.sequence);
  const found: Standing[] = [];
  for (const [index, { sequence, subject }] of given.entries()) {
    if (found.length === limit || index === MAX_SCANNED) return { found, next: sequence };
    const standing = await notBegun(source, splitSubject(subject).id);
    if (standing !== undefined) found.push(standing);
  }
  const next = Math.max(from, floor + 1);
  if (found.length === limit) return { found, next };
  const rest = await turn(source, orderCreated, {
    from: next,
    limit: limit - found.length,
    stream: ORDER,
    scan: MAX_SCANNED,
    stand: async (viewed) => {
      const standings = await viewStandings(source, viewed);
      return viewed.map(({ value: { order } }, index) =>
        standings[index] === undefined && order ? justCreated(order) : undefined,
      );
    },
  });
  return { found: [...found, ...rest.found], next: rest.next };
}

/** An order that the coordinator has nothing about; undefined if it has. */
async function notBegun({ jsm }: ListSource, orderId: string): Promise<Standing | undefined> {
  if ((await viewLast(jsm, CHECKOUT, key(checkoutState, orderId))) !== undefined) return undefined;
  const created = await viewLast(jsm, ORDER, key(orderCreated, orderId));
  return created?.order && justCreated(created.order);
}

/** Orders that dead letters hold up, in the order in which these changed last. */
async function held(source: ListSource, state: OrderFilter["state"], { from, limit }: Range): Promise<Page> {
  const { jsm, letters } = source;
  const suspects = [...letters.orderIds]
    .map((orderId) => ({ orderId, seq: Math.min(...letters.of(orderId).map(({ seq }) => seq)) }))
    .filter(({ seq }) => seq >= from)
    .sort((one, other) => one.seq - other.seq);
  const found: Standing[] = [];
  for (const [index, { orderId, seq }] of suspects.entries()) {
    if (found.length === limit || index === MAX_SCANNED) return { found, next: seq };
    const checkout = await viewLast(jsm, CHECKOUT, key(checkoutState, orderId));
    const standing = checkout ? fromCheckout(checkout) : await notBegun(source, orderId);
    if (standing === undefined || (state !== undefined && standing.state !== state)) continue;
    if (letters.holding({ orderId, state: standing.state }).length > 0) found.push(standing);
  }
  return { found, next: undefined };
}

/**
 * Orders on their way, by their timers: a live order has one (ADR 4). It stays while the order moves on, so that the state
 * is looked up. For the moment between a timer that fires and what the coordinator makes of it, an order has none.
 */
function live(source: ListSource, state: string, range: Range): Promise<Page> {
  return turn(source, checkoutTimer, {
    ...range,
    stream: CHECKOUT,
    scan: MAX_SCANNED,
    stand: async (viewed) => {
      const standings = await viewStandings(source, viewed);
      return standings.map((standing) => (standing?.state === state ? standing : undefined));
    },
  });
}

/** Where the coordinator sees the orders, in the order given; undefined where it has not seen one. */
async function viewStandings(
  { jsm }: ListSource,
  orders: readonly { id: string }[],
): Promise<(Standing | undefined)[]> {
  const keys = orders.map(({ id }) => key(checkoutState, id));
  const checkouts = await viewMany(jsm, CHECKOUT, keys);
  return checkouts.map((checkout) => checkout && fromCheckout(checkout));
}

/** What a list says about several messages, undefined for those that do not belong in it. */
type Stand<S extends DescMessage> = (viewed: readonly Viewed<S>[]) => Promise<(Standing | undefined)[]>;

/** Where each message says all there is to know. */
function each<S extends DescMessage>(stand: (viewed: Viewed<S>) => Standing | undefined): Stand<S> {
  return async (viewed) => viewed.map(stand);
}

/** Looks at `scan` messages of one contract, some at a time, and turns them into orders until there are `limit`. */
async function turn<S extends DescMessage>(
  { jsm }: ListSource,
  contract: Contract<S>,
  options: Range & { stream: string; scan: number; stand: Stand<S> },
): Promise<Page> {
  const { stream, scan, from, limit, stand } = options;
  const viewed = await viewPage(jsm, stream, contract, { from, limit: scan });
  const found: Standing[] = [];
  for (let looked = 0; looked < viewed.length; ) {
    // Few will be found where many had to be looked at, and then more at a time costs less.
    const some = viewed.slice(looked, looked + Math.max(limit, looked));
    const standings = await stand(some);
    for (const [index, standing] of standings.entries()) {
      if (standing === undefined) continue;
      if (found.length === limit) return { found, next: some[index]?.seq };
      found.push(standing);
    }
    looked += some.length;
  }
  const last = viewed.at(-1);
  return { found, next: last === undefined || viewed.length < scan ? undefined : last.seq + 1 };
}
