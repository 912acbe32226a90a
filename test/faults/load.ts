import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type CustomerAnswer, type CustomerRequest, insist, isTryAgain } from "../../tools/customer.ts";
import { exampleOrder } from "../support/mod.ts";
import { type Kind, kinds } from "./orders.ts";
import type { Placed, World } from "./world.ts";

export interface LoadOptions {
  /** At least so many orders; more if the disturbance takes longer. */
  readonly orders: number;
  /** Default: {@linkcode kinds} in turn. */
  readonly kinds?: readonly Kind[];
}

/** A pace that a busy machine keeps up with: what is tested are faults, not speed. */
const ORDERS_PER_SECOND = 20;
/** Requests that may be waiting for an answer; while the shop is away, customers queue up no further. */
const MAX_WAITING = 40;
/** While a disturbance takes longer than the orders that were asked for, there have to be some that it can hit. */
const ORDERS_PER_SECOND_AFTER = 8;
/** However long it takes, more orders than so many times what was asked for say nothing new. */
const MAX_TIMES = 12;
/** No fault lasts as long. */
const PATIENCE_MS = 120_000;

/** Places orders at a steady pace while `disturb` goes on. Resolves when both are done and every order was accepted. */
export async function underLoad(
  world: World,
  options: LoadOptions,
  disturb: () => Promise<void>,
): Promise<void> {
  const { orders, kinds: mix = kinds } = options;
  let disturbing = true;
  const disturbed = disturb().finally(() => {
    disturbing = false;
  });
  // Reported when it is awaited, once the load has come to its end.
  disturbed.catch(() => undefined);
  const waiting = new Set<Promise<void>>();
  for (let sent = 0; sent < orders || (disturbing && sent < orders * MAX_TIMES); sent++) {
    const kind = mix[sent % mix.length] as Kind;
    const placing = place(world, kind).then(() => void waiting.delete(placing));
    waiting.add(placing);
    if (waiting.size >= MAX_WAITING) await Promise.race(waiting);
    await sleep(1_000 / (sent < orders ? ORDERS_PER_SECOND : ORDERS_PER_SECOND_AFTER));
  }
  await Promise.all(waiting);
  await disturbed;
}

/**
 * Places one order, as a client does that wants it: the same key until there is an answer.
 * @throws {Error} If the order is refused for good, or there is no answer at all.
 */
export async function place(world: World, kind: Kind): Promise<Placed> {
  const key = randomUUID();
  const body = { ...exampleOrder, ...kind.changes };
  const since = Date.now();
  const { status, answer } = await insistOn(world, "/orders", { key, body });
  if (status !== 202) throw new Error(`Cannot place an order: ${status} ${JSON.stringify(answer)}`);
  const placed: Placed = { id: answer.order_id ?? "", ends: kind.ends, key, body, since };
  world.accepted.push(placed);
  if (kind.cancels) await insistOn(world, `/orders/${placed.id}/cancel`, { key });
  return placed;
}

/** Sends a request until there is an answer, and counts what it takes. */
async function insistOn(world: World, path: string, request: CustomerRequest): Promise<CustomerAnswer> {
  const last = await insist(path, request, {
    url: () => world.orderUrl(),
    patienceMs: PATIENCE_MS,
    onTry: ({ status }) => {
      world.tally.requests += 1;
      if (status === 503) world.tally.refused += 1;
      if (status === 500) world.tally.failures.push(`${path} was answered with 500`);
    },
  });
  if (isTryAgain(last, request)) throw new Error(`Cannot get an answer to ${path}: ${last.status}`);
  return last;
}
