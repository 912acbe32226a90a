import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { accessOptions, applyTopology } from "../nats/mod.ts";
import { natsServerName } from "../tools/processes.ts";
import { type Shop, startWholeShop } from "../tools/supervisor.ts";
import { shopBacklog } from "./backlog.ts";
import { storeBytes } from "./history_disk.ts";
import type { Measured } from "./measure.ts";
import { pidsOf, storedMessages } from "./shop.ts";
import { openShopOrders, type ShopOrders } from "./shop_orders.ts";
import { measuredServices } from "./shop_services.ts";

/** A server that was killed may have to read all of its store again. */
const READY_WITHIN_MS = 30 * 60_000;
const STARTS = 3;
const names = measuredServices.map(({ name }) => name);

/** The monitor reads everything when it starts: it is looked at by itself, and after the others. */
export const MONITOR = "monitor";
/** All services but the monitor. */
export const workers = names.filter((name) => name !== MONITOR);

/** How long a process took until it was ready, and its resident memory then, in bytes. */
export interface Start {
  readonly ms: number;
  readonly rss: number;
}

export interface ServerStarts {
  /** Asked to stop, until it was gone. Close to 10 s: it was killed, since it took longer. */
  readonly stopMs: number;
  /** After an orderly stop, until it says that all streams are there. */
  readonly orderly: Start;
  /** The same after SIGKILL, from the moment of that. */
  readonly killed: Start;
}

/** A shop with room for `orders` orders, as `npm start` runs it but for the analytics. */
export function openLargeShop(
  dataDir: string,
  { orders, signal }: { orders: number; signal: AbortSignal },
): Promise<Shop> {
  return startWholeShop({
    dataDir,
    services: measuredServices,
    ports: "free",
    prepare: async (operator) => void (await applyTopology(operator)),
    logs: { file: join(dataDir, "shop.log") },
    report: () => undefined,
    // What may be used is 80% of it at most: beyond that the order service takes no more orders.
    maxFileStore: `${Math.ceil((storeBytes(orders) * 1.5) / 1e9)}GB`,
    readyWithinMs: READY_WITHIN_MS,
    signal,
  });
}

/** Connections to a shop, which do not outlive a restart of it. */
export interface Session extends AsyncDisposable {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly orders: ShopOrders;
}

export async function openSession(shop: Shop): Promise<Session> {
  await using stack = new AsyncDisposableStack();
  const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
  stack.defer(() => connection.close());
  const jsm = await jetstreamManager(connection);
  const orders = stack.use(await openShopOrders(shop.url("order"), connection));
  const closing = stack.move();
  return { connection, jsm, orders, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

/** What a level is measured on. */
export function measuredShop(shop: Shop, { orders, connection }: Session): Measured & { name: string } {
  return {
    name: "shop",
    pids: () => pidsOf(shop, [natsServerName, ...names]),
    messages: () => storedMessages(connection),
    backlog: () => shopBacklog(connection),
    checkout: orders.checkout,
  };
}

export async function stopServices(shop: Shop): Promise<void> {
  await Promise.all(names.map((name) => shop.stop(name)));
}

/** No service runs while this does. */
export async function restartServer(shop: Shop): Promise<ServerStarts> {
  const stopMs = await timed(() => shop.stop(natsServerName));
  const orderly = await start(shop, natsServerName);
  const killedAt = performance.now();
  await shop.kill(natsServerName);
  await shop.ready(natsServerName);
  const killed = { ms: performance.now() - killedAt, rss: rssOf(shop, natsServerName) };
  return { stopMs, orderly, killed };
}

/** Starts each service by itself, and again while the others run; the medians. They run when this is done. */
export async function startOneByOne(
  shop: Shop,
  { names, show }: { names: readonly string[]; show: (text: string) => void },
): Promise<Record<string, Start>> {
  const starts = new Map<string, Start[]>(names.map((name) => [name, []]));
  for (let round = 0; round < STARTS; round++) {
    for (const name of names) {
      show(`starting ${name}`);
      if (round > 0) await shop.stop(name);
      starts.get(name)?.push(await start(shop, name));
    }
  }
  return Object.fromEntries(
    [...starts].map(([name, all]) => {
      const sorted = all.toSorted((a, b) => a.ms - b.ms);
      const rss = all.map((one) => one.rss).toSorted((a, b) => a - b);
      return [name, { ms: sorted[STARTS >> 1]?.ms ?? Number.NaN, rss: rss[STARTS >> 1] ?? Number.NaN }];
    }),
  );
}

async function start(shop: Shop, name: string): Promise<Start> {
  const ms = await timed(() => shop.start(name));
  return { ms, rss: rssOf(shop, name) };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Resident memory in bytes; NaN where the system does not tell. */
export function rssOf(shop: Shop, name: string): number {
  const pid = shop.pid(name);
  try {
    return parseRss(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return Number.NaN;
  }
}

/** `text` is the content of `/proc/<pid>/status`; see proc_pid_status(5). */
export function parseRss(text: string): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1];
  return kilobytes === undefined ? Number.NaN : Number(kilobytes) * 1_024;
}
