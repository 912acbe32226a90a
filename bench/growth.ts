import { setTimeout as sleep } from "node:timers/promises";
import { natsServerName } from "../tools/processes.ts";
import type { Shop } from "../tools/supervisor.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { fillCatalogue } from "./catalogue.ts";
import { CATCH_UP_MS, type CatchUp, watchCatchUp } from "./growth_monitor.ts";
import { probeReads, type Reads } from "./growth_reads.ts";
import { growthReport } from "./growth_report.ts";
import {
  MONITOR,
  measuredShop,
  openLargeShop,
  openSession,
  restartServer,
  rssOf,
  type ServerStarts,
  type Start,
  startOneByOne,
  stopServices,
  workers,
} from "./growth_shop.ts";
import { contentsOf } from "./history_contents.ts";
import { assertRoom } from "./history_disk.ts";
import { type Recorded, recordOrders } from "./history_record.ts";
import { freshMs, skipHistory } from "./history_skip.ts";
import { writeHistory } from "./history_write.ts";
import { measureLevels } from "./levels.ts";
import type { Level } from "./measure.ts";
import { count } from "./report.ts";
import { skus } from "./target.ts";

/** What a shop with so many finished orders came to. */
export interface Stage {
  /** Finished orders when the processes were started, and when the last level had been measured. */
  readonly orders: number;
  readonly ordersAfter: number;
  readonly messages: number;
  /** On the disk. */
  readonly bytes: number;
  readonly server: ServerStarts;
  /** Resident memory of nats-server after the levels, in bytes. */
  readonly serverRssAfter: number;
  readonly services: Readonly<Record<string, Start>>;
  readonly catchUp: CatchUp;
  readonly reads: Reads;
  readonly levels: readonly Level[];
}

export const growth: Benchmark = {
  name: "growth",
  description: "whole checkouts, memory and starts with a growing number of finished orders",
  async run(context) {
    const sizes = context.options.orders.toSorted((a, b) => a - b);
    assertRoom(context.home, sizes.at(-1) as number);
    const stages = await measureShop(sizes, context);
    // What differs between this and the first is not the history's doing.
    const [again] = await measureShop(sizes.slice(0, 1), context);
    return growthReport({ stages, again: again as Stage }, context.options);
  },
};

/** One shop that grows. */
async function measureShop(sizes: readonly number[], context: Context): Promise<Stage[]> {
  const { folder, signal, show } = context;
  show("starting");
  const most = sizes.at(-1) as number;
  await using shop = await openLargeShop(folder("growth"), { orders: most, signal });
  const recorded = await record(shop);
  const stages: Stage[] = [];
  for (const size of sizes) stages.push(await measureStage({ shop, recorded, size }, context));
  return stages;
}

async function record(shop: Shop): Promise<Recorded[]> {
  await using session = await openSession(shop);
  await fillCatalogue(shop, () => session.orders.place(skus, crypto.randomUUID()));
  return await recordOrders(session, session.orders);
}

async function measureStage(
  { shop, recorded, size }: { shop: Shop; recorded: readonly Recorded[]; size: number },
  context: Context,
): Promise<Stage> {
  const { signal, show, tell } = context;
  await stopServices(shop);
  const { samples, ...stored } = await grow(shop, { recorded, size }, context);
  show("restarting nats-server");
  const server = await restartServer(shop);
  const services = await startOneByOne(shop, { names: workers, show });
  const monitor = await startOneByOne(shop, { names: [MONITOR], show });
  const catchUp = await watchCatchUp(shop, { signal, show, giveUpMs: CATCH_UP_MS });
  // It takes no part in an order, and what it reads of the history is no order's cost.
  await shop.stop(MONITOR);
  tell(
    `${count(stored.orders)} orders: nats-server starts in ${Math.round(server.orderly.ms)} ms ` +
      `(${Math.round(server.killed.ms)} after a kill), the monitor has ` +
      (catchUp.seconds === undefined
        ? `not caught up after ${CATCH_UP_MS / 1_000} s`
        : `caught up after ${catchUp.seconds} s`),
  );
  const reads = await probeReads(shop, samples);
  await using session = await openSession(shop);
  const levels = await measureLevels(measuredShop(shop, session), context);
  const serverRssAfter = rssOf(shop, natsServerName);
  const { orders: ordersAfter } = await contentsOf(session.jsm);
  const all = { ...services, ...monitor };
  return { ...stored, ordersAfter, server, serverRssAfter, services: all, catchUp, reads, levels };
}

/** Adds finished orders until there are `size`. */
async function grow(
  shop: Shop,
  { recorded, size }: { recorded: readonly Recorded[]; size: number },
  { signal, show, tell }: Context,
) {
  await using session = await openSession(shop);
  const before = await contentsOf(session.jsm);
  const missing = Math.max(0, size - before.orders);
  const began = performance.now();
  const { samples, messages } = await writeHistory(session, recorded, {
    count: missing,
    signal,
    onProgress: (written) => show(`writing the history: ${count(written)} of ${count(missing)} orders`),
  });
  await skipHistory(session.jsm);
  const seconds = (performance.now() - began) / 1_000;
  const total = [...messages.values()].reduce((sum, one) => sum + one, 0);
  tell(
    `${count(missing)} orders written: ${count(total)} messages, ${count(Math.round(total / seconds))} a second`,
  );
  show("waiting until the server takes it for history");
  await sleep(missing > 0 ? await freshMs(session.jsm) : 0, undefined, { signal });
  return { ...(await contentsOf(session.jsm)), samples };
}
