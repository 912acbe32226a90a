import { setTimeout as sleep } from "node:timers/promises";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import {
  checkoutTimer,
  decode,
  MAX_PAGE,
  orderCreated,
  reviewTimer,
  type StreamSpec,
  splitSubject,
  topology,
  viewStored,
} from "../nats/mod.ts";
import { type OrderTemplate, type Original, templateOf, withRemoved } from "./history.ts";
import type { Line } from "./history_stock.ts";
import type { ShopOrders } from "./shop_orders.ts";
import { measuredConsumers } from "./shop_services.ts";
import { skus } from "./target.ts";

/** What one real order left behind, by stream. */
export interface Recorded {
  readonly lines: readonly Line[];
  readonly streams: ReadonlyMap<string, OrderTemplate>;
}

/** Streams that hold messages about orders. */
export const ledgers = topology.streams.filter(({ owner }) => owner !== undefined);

/** Schedules: they are removed when their order has ended, and so have to be seen on their way. */
const timers = [checkoutTimer, reviewTimer];
const QUIET_WITHIN_MS = 30_000;
const ASK_AGAIN_MS = 50;

/**
 * Places one real order for each sku and returns all that the ledgers say of them when they have ended and everybody has
 * read it.
 *
 * @param connection The operator's.
 */
export async function recordOrders(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  orders: ShopOrders,
): Promise<Recorded[]> {
  await quiet(jsm);
  const lasts = await lastSequences(jsm);
  const removed: Original[] = [];
  const subscriptions = timers.map(({ subject }) =>
    connection.subscribe(`${subject}.>`, {
      callback: (_error, message) => void removed.push(originalOf(message)),
    }),
  );
  await connection.flush();
  await Promise.all(skus.map((sku) => orders.checkout({ sku, key: crypto.randomUUID() })));
  await quiet(jsm);
  for (const subscription of subscriptions) subscription.unsubscribe();
  const byStream = await Promise.all(
    ledgers.map(async (spec) => {
      const stored = await readFrom(jsm, spec, (lasts.get(spec.name) ?? 0) + 1);
      return [spec.name, byOrder(stored), byOrder(removed.filter(isOf(spec)))] as const;
    }),
  );
  const created = byStream.find(([name]) => name === "ORDER")?.[1] ?? new Map<string, Original[]>();
  return [...created].map(([orderId, messages]) => ({
    lines: linesOf(messages),
    streams: new Map(
      byStream.map(([name, stored, timers]) => {
        const all = withRemoved(stored.get(orderId) ?? [], timers.get(orderId) ?? []);
        return [name, templateOf(orderId, all)];
      }),
    ),
  }));
}

/** Resolves when every consumer of what runs has read and acknowledged all. */
async function quiet(jsm: JetStreamManager): Promise<void> {
  const giveUpAt = performance.now() + QUIET_WITHIN_MS;
  for (;;) {
    const infos = await Promise.all(
      measuredConsumers.map(({ stream, service }) => jsm.consumers.info(stream, service)),
    );
    const busy = infos.find(({ num_pending, num_ack_pending }) => num_pending + num_ack_pending > 0);
    if (busy === undefined) return;
    if (performance.now() > giveUpAt) {
      throw new Error(`Cannot record orders: ${busy.name} does not come to the end of ${busy.stream_name}`);
    }
    await sleep(ASK_AGAIN_MS);
  }
}

/** By stream. */
export async function lastSequences(jsm: JetStreamManager): Promise<Map<string, number>> {
  const infos = await Promise.all(ledgers.map(({ name }) => jsm.streams.info(name)));
  return new Map(infos.map(({ config, state }) => [config.name, state.last_seq]));
}

async function readFrom(jsm: JetStreamManager, { name, prefix }: StreamSpec, first: number) {
  const all: Original[] = [];
  for (let from = first; ; ) {
    const page = await viewStored(jsm, name, { subject: `${prefix}.>`, from, limit: MAX_PAGE });
    const last = page.at(-1);
    if (last === undefined) return all;
    all.push(...page.map(({ subject, header, data }) => originalOf({ subject, headers: header, data })));
    from = last.seq + 1;
  }
}

function originalOf(message: { subject: string; headers?: MsgHdrs | undefined; data: Uint8Array }): Original {
  const { subject, headers, data } = message;
  // The client may use its buffer again.
  return { subject, headers: headerPairs(headers), data: data.slice() };
}

/** The first value of each name. */
export function headerPairs(headers: MsgHdrs | undefined): [name: string, value: string][] {
  return (headers?.keys() ?? []).map((name) => [name, headers?.get(name) ?? ""]);
}

function isOf({ prefix }: StreamSpec): (message: Original) => boolean {
  return ({ subject }) => subject.startsWith(`${prefix}.`);
}

/** Ids of skus are keys here as well, and nobody asks for them. */
function byOrder(messages: readonly Original[]): Map<string, Original[]> {
  return Map.groupBy(messages, ({ subject }) => splitSubject(subject).id.split(".")[0] as string);
}

function linesOf(messages: readonly Original[]): Line[] {
  const { order } = decode(orderCreated, messages[0]?.data ?? new Uint8Array());
  return order?.lines.map(({ sku, quantity }) => ({ sku, quantity })) ?? [];
}
