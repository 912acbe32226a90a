import type { DescMessage } from "@bufbuild/protobuf";
import type { Context } from "hono";
import { z } from "zod";
import { type Env, paging, readQuery, toCursor } from "../../lib/mod.ts";
import {
  type Contract,
  checkoutCancelled,
  checkoutCompleted,
  checkoutState,
  checkoutTimer,
  key,
  orderCreated,
  type Viewed,
  viewLast,
  viewPage,
} from "../../nats/mod.ts";
import {
  CHECKOUT,
  fromCheckout,
  justCreated,
  orderStates,
  type Source,
  type Standing,
  toSummary,
} from "./status.ts";

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;
/** Messages that one page looks at in search of orders in the state asked for. */
const MAX_SCANNED = 500;
/** The consumer by which the coordinator learns of orders. */
const COORDINATOR = "coordinator";

const query = {
  state: z.enum(orderStates, `Must be one of ${orderStates.join(", ")}`).optional(),
  ...paging({ limit: DEFAULT_LIMIT, max: MAX_LIMIT }),
};

/**
 * `GET /orders?state=&limit=&cursor=` → `{"orders":[{"order_id","state","reason"?,"total_cents","currency",
 * "placed_at"}],"next_cursor"?}`, oldest first; 400 with every fault for a malformed query.
 *
 * A page costs by what it looks at ({@linkcode MAX_SCANNED} messages at most), never by the length of the history. It
 * may therefore hold fewer orders than `limit`, even none, and there is more for as long as there is a `next_cursor`. A
 * cursor is a place in a stream: it belongs to the state that it came with. Pages are a moment old; an order that changes
 * its state while somebody turns the pages may be missed by one list and seen by the next.
 */
export function listRoute(source: Source): (context: Context<Env>) => Promise<Response> {
  return async (context) => {
    const { state, limit, cursor } = readQuery(context.req.query(), query);
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
        stand: async ({ value: { order } }) => order && { order, state, reason: "", history: [] },
      });
    case "cancelled":
      return turn(source, checkoutCancelled, {
        ...range,
        stream: CHECKOUT,
        scan: range.limit,
        stand: async ({ value: { order, reason } }) => order && { order, state, reason, history: [] },
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
    stand: async ({ id, value: { order } }) =>
      (await viewStanding(source, id)) ?? (order && justCreated(order)),
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
    stand: async ({ id, value: { order } }) => {
      return (await viewStanding(source, id)) === undefined && order ? justCreated(order) : undefined;
    },
  });
}

/**
 * Orders on their way, by their timers: a live order has one, and it names the state. For the moment between a deadline
 * that passes and what the coordinator makes of it, an order has none.
 */
function live(source: Source, state: string, range: Range): Promise<Page> {
  return turn(source, checkoutTimer, {
    ...range,
    stream: CHECKOUT,
    scan: MAX_SCANNED,
    wanted: ({ value }) => value.state === state,
    stand: async ({ id }) => {
      const standing = await viewStanding(source, id);
      return standing?.state === state ? standing : undefined;
    },
  });
}

async function viewStanding({ jsm }: Source, orderId: string): Promise<Standing | undefined> {
  const checkout = await viewLast(jsm, CHECKOUT, key(checkoutState, orderId));
  return checkout && fromCheckout(checkout);
}

/** Looks at `scan` messages of one contract and turns those that are `wanted` into orders, until there are `limit`. */
async function turn<S extends DescMessage>(
  { jsm }: Source,
  contract: Contract<S>,
  options: Range & {
    stream: string;
    scan: number;
    wanted?: (viewed: Viewed<S>) => boolean;
    /** Undefined for an order that does not belong in the list after all. */
    stand: (viewed: Viewed<S>) => Promise<Standing | undefined>;
  },
): Promise<Page> {
  const { stream, scan, from, limit, wanted = () => true, stand } = options;
  const viewed = await viewPage(jsm, stream, contract, { from, limit: scan });
  const candidates = viewed.filter(wanted);
  const found: Standing[] = [];
  let looked = 0;
  while (found.length < limit && looked < candidates.length) {
    const some = candidates.slice(looked, looked + limit - found.length);
    looked += some.length;
    const standings = await Promise.all(some.map(stand));
    found.push(...standings.filter((standing) => standing !== undefined));
  }
  const last = viewed.at(-1);
  if (looked < candidates.length) return { found, next: candidates[looked]?.seq };
  return { found, next: last === undefined || viewed.length < scan ? undefined : last.seq + 1 };
}
