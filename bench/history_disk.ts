import { statfsSync } from "node:fs";
import { StartError } from "../tools/start_error.ts";

/** What one order takes on the disk: a score of messages, most of it headers. Rounded up. */
export const BYTES_PER_ORDER = 20_000;
/** Orders that are placed while it is measured, and whatever else writes to the disk meanwhile. */
const SPARE_BYTES = 5e9;

/** What the store of a shop with `orders` orders may take. */
export function storeBytes(orders: number): number {
  return orders * BYTES_PER_ORDER + SPARE_BYTES;
}

/**
 * @param free Bytes; default: what the disk that `folder` is on has left.
 * @throws {StartError} If `orders` orders do not fit.
 */
export function assertRoom(folder: string, orders: number, free = freeBytes(folder)): void {
  const needed = storeBytes(orders);
  if (free >= needed) return;
  const gigabytes = (bytes: number) => `${Math.ceil(bytes / 1e8) / 10} GB`;
  throw new StartError(
    `Cannot keep ${orders.toLocaleString("en")} orders: they take ${gigabytes(needed)}, ` +
      `and the disk has ${gigabytes(free)} left; choose another --data-dir or fewer --orders`,
  );
}

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
