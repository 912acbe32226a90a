import type { DescMessage } from "@bufbuild/protobuf";
import type { Context } from "hono";
import { type Env, readQuery, toCursor } from "../../lib/mod.ts";
import {
  type Contract,
  checkoutCancelled,
  checkoutCompleted,
  checkoutState,
  checkoutTimer,
  key,
  orderCreated,
  type orderStates,
  type Viewed,
  viewMany,
  viewPage,
} from "../../nats/mod.ts";
import { listOrders } from "./api.ts";
import { CHECKOUT, fromCheckout, justCreated, type Source, type Standing, toSummary } from "./status.ts";

/** Messages that one page looks at in search of orders in the state asked for. */
const MAX_SCANNED = 500;
/** The consumer by which the coordinator learns of orders. */
const COORDINATOR = "coordinator";

/**
 * `GET /orders?state=&limit=&cursor=` → `{"orders":[{"order_id","state","reason"?,"total_cents","currency",
 * "placed_at"}],"next_cursor"?}`, oldest first; 400 with every fault for a malformed query.
 *
 * A page costs by what it looks at ({@linkcode MAX_SCANNED} messages at most), never by the length of the history. It
 * may therefore hold fewer orders than `limit`, even none, and there is more for as long as there is a `next_cursor`. A
 * cursor is a place in a stream: it belongs to the state that it came with. Pages are a moment old; an order that changes
 * its state while somebody turns the pages may be missed by one list and seen by the next. Orders that wait are listed by
 * their timers, and one whose timer is set again moves to the end: it may be seen twice.
 */
export function listRoute(source: Source): (context: Context<Env>) => Promise<Response> {
  return async (context) => {
    const { state, limit, cursor } = readQuery(context.req.query(), listOrders.query);
    const { found, next } = await readPage(source, state, { from: cursor, limit });
    return context.json({
      orders: found.map(toSummary),
      ...(next !== undefined && { next_cursor: toCursor(next) }),
    });
  };
}

interface Page {
  found: Standing[];
  /** Sequence at which the next page begins, undefined if there is nothing more yet. */
  next: number | undefined;
}

type Range = { from: number; limit: number };

function readPage(
  source: Source,
  state: (typeof orderStates)[number] | undefined,
  range: Range,
): Promise<Page> {
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
function placed(source: Source, range: Range): Promise<Page> {
  return turn(source, orderCreated, {
    ...range,
    stream: source.ledger.stream,
    scan: range.limit,
    stand: async (viewed) => {
      const standings = await viewStandings(source, viewed);
      return viewed.map(({ value: { order } }, index) => standings[index] ?? (order && justCreated(order)));
    },
  });
}

/** Orders that the coordinator has not handled: it has acknowledged all up to its ack floor. */
async function waiting(source: Source, { from, limit }: Range): Promise<Page> {
  const { jsm, ledger } = source;
  const consumer = await jsm.consumers.info(ledger.stream, COORDINATOR);
  return turn(source, orderCreated, {
    from: Math.max(from, consumer.ack_floor.stream_seq + 1),
    limit,
    stream: ledger.stream,
    scan: MAX_SCANNED,
    stand: async (viewed) => {
      const standings = await viewStandings(source, viewed);
      return viewed.map(({ value: { order } }, index) =>
        standings[index] === undefined && order ? justCreated(order) : undefined,
      );
    },
  });
}

/**
 * Orders on their way, by their timers: a live order has one (ADR 4). It stays while the order moves on, so that the state
 * is looked up. For the moment between a timer that fires and what the coordinator makes of it, an order has none.
 */
function live(source: Source, state: string, range: Range): Promise<Page> {
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
  { jsm }: Source,
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
  { jsm }: Source,
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
