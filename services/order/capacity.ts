import { setInterval } from "node:timers/promises";
import { z } from "zod";
import { getJson, type Log, monitorUrlsOf } from "../../nats/mod.ts";
import { DiskWatch } from "./disk.ts";

/** Whether the servers have room for the whole way of one more order. */
export interface Capacity {
  readonly full: boolean;
}

/**
 * Share of what all streams may take together from which on no order is accepted. The rest belongs to the orders that are
 * under way, each of which stores about 25 KB until its end. A server of one node that reaches its limit in the middle
 * of an atomic batch keeps the first part of it (seen with 2.15.1), which is why it must never get there.
 */
export const FULL_FROM = 0.9;
/** At most this many seconds' orders are accepted after the share is reached. */
const CHECK_EVERY_MS = 1_000;
const TIMEOUT_MS = 1_000;

const Usage = z.object({ storage: z.number(), config: z.object({ max_storage: z.number() }) });

export interface CapacityOptions {
  /** Comma-separated base URLs of the servers' monitoring. Default: none, and the limit is not watched. */
  monitorUrl: string | undefined;
  /** A path on the disk of the store. Default: none, and the disk is not watched. */
  disk?: string | undefined;
  /** The streams that the servers do not write: an order needs all of them on its way. Default: there are none. */
  unwritable?: () => readonly string[];
  log: Log;
  /** Ends the watch. */
  signal: AbortSignal;
  /** Default 1,000. */
  everyMs?: number;
}

/**
 * Watches how full the servers are, of which the fullest one counts, and how much room their disk has. While one of them does
 * not say, what it said last holds.
 */
export function watchCapacity(options: CapacityOptions): Capacity {
  const { log, signal, unwritable = () => [], everyMs = CHECK_EVERY_MS } = options;
  const urls = monitorUrlsOf(options.monitorUrl).map((url) => `${url}/jsz`);
  const disk = options.disk === undefined ? undefined : new DiskWatch(options.disk, { log });
  const capacity = { full: false };
  let used = 0;
  const look = async () => {
    const [shares] = await Promise.all([Promise.all(urls.map(shareUsed)), disk?.look()]);
    const known = shares.filter((share) => share !== undefined);
    if (known.length > 0) used = Math.max(...known);
    const full = used >= FULL_FROM || disk?.full === true || unwritable().length > 0;
    if (full === capacity.full) return;
    capacity.full = full;
    const fields = { used, disk_free_mib: disk?.freeMiB, unwritable: unwritable() };
    if (full) log.error(fields, "the store is nearly full: no order is accepted");
    else log.info(fields, "the store has room again");
  };
  void (async () => {
    try {
      await look();
      for await (const _ of setInterval(everyMs, undefined, { signal })) await look();
    } catch (cause) {
      if (!signal.aborted) throw cause;
    }
  })();
  return capacity;
}

/** Undefined if the server does not say. */
async function shareUsed(url: string): Promise<number | undefined> {
  try {
    const { data } = Usage.safeParse(await getJson(url, { timeoutMs: TIMEOUT_MS }));
    return data && data.storage / data.config.max_storage;
  } catch {
    // It is away, or hangs; what that means for orders, their commits find out.
    return undefined;
  }
}
