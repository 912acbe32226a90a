import { join } from "node:path";
import type { Context } from "./benchmark.ts";
import { runLoad } from "./load.ts";
import { number } from "./report.ts";
import { startShopTarget } from "./shop.ts";
import { syncsWithin, whyNoSyncs } from "./syncs.ts";

/** How often the shop's nats-server syncs to the disk. */
export interface SyncCounts {
  /** Of each level, by orders in flight. A slower run has smaller batches, and so more syncs for each order. */
  readonly levels: Readonly<Record<number, { readonly perOrder: number; readonly perSecond: number }>>;
  readonly seconds: number;
  /** Why nothing was counted. */
  readonly missing?: string;
}

const SECONDS = 3;

/** Runs a shop for this alone: counting costs time, which the figures of other runs are not to pay. */
export async function shopSyncs(context: Context): Promise<SyncCounts> {
  const { options, signal } = context;
  const missing = options.syncs ? whyNoSyncs() : "--no-syncs";
  if (missing !== undefined) return { levels: {}, seconds: SECONDS, missing };
  context.show("shop: starting, to count fsyncs");
  const dataDir = context.folder("shop-syncs");
  const trace = join(dataDir, "syncs.txt");
  await using target = await startShopTarget({ dataDir, signal, syncTrace: trace });
  const levels: Record<number, { perOrder: number; perSecond: number }> = {};
  for (const concurrency of options.concurrency) {
    context.show(`shop: ${concurrency} in flight, counting fsyncs`);
    const now = () => (performance.timeOrigin + performance.now()) / 1_000;
    const load = await runLoad(target.checkout, { concurrency, seconds: SECONDS, sample: now, signal });
    const syncs = syncsWithin(trace, { from: load.opened, to: load.closed });
    const perOrder = syncs / load.completed;
    levels[concurrency] = { perOrder, perSecond: load.perSecond };
    const speed = `${number(load.perSecond)} a second meanwhile`;
    context.tell(`shop: ${concurrency} in flight: ${number(perOrder)} fsyncs per order, ${speed}`);
  }
  return { levels, seconds: SECONDS };
}
