import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
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
/** A client gives up after this and sends the same request again. The shop answers within 10 s if it runs. */
const CLIENT_TIMEOUT_MS = 12_000;
const RETRY_MS = 150;
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
  const answer = await insist(world, "/orders", { key, body, since });
  if (answer.status !== 202) {
    throw new Error(`Cannot place an order: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
  const placed: Placed = { id: answer.body.order_id ?? "", ends: kind.ends, key, body, since };
  world.accepted.push(placed);
  if (kind.cancels) await insist(world, `/orders/${placed.id}/cancel`, { key, since });
  return placed;
}

/** Sends a request until it is answered with something other than "try again". */
async function insist(
  world: World,
  path: string,
  { key, body, since }: { key: string; body?: object; since: number },
): Promise<{ status: number; body: { order_id?: string } }> {
  for (;;) {
    const { status, answer } = await post(world.orderUrl(), path, { key, body });
    world.tally.requests += 1;
    if (status === 503) world.tally.refused += 1;
    if (status !== 0 && status !== 409 && status < 500) return { status, body: answer };
    // Too late to be cancelled is an answer; a request in flight is not.
    if (status === 409 && body === undefined) return { status, body: answer };
    if (status === 500) world.tally.failures.push(`${path} was answered with 500`);
    if (Date.now() - since > PATIENCE_MS) throw new Error(`Cannot get an answer to ${path}: ${status}`);
    await sleep(RETRY_MS);
  }
}

/** Status 0 if there was no answer. */
export async function post(
  url: string,
  path: string,
  { key, body }: { key: string; body?: object | undefined },
): Promise<{ status: number; answer: { order_id?: string }; type: string; replayed: boolean }> {
  try {
    const response = await fetch(`${url}${path}`, {
      method: "POST",
      headers: { "idempotency-key": key, ...(body && { "content-type": "application/json" }) },
      signal: AbortSignal.timeout(CLIENT_TIMEOUT_MS),
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      answer: text === "" ? {} : JSON.parse(text),
      type: response.headers.get("content-type") ?? "",
      replayed: response.headers.get("idempotency-replayed") === "true",
    };
  } catch (cause) {
    // A process that dies breaks its connections, one that hangs does not answer: both are what a client sees.
    if (!(cause instanceof TypeError || cause instanceof DOMException)) throw cause;
    return { status: 0, answer: {}, type: "", replayed: false };
  }
}
