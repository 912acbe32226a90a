import { setTimeout as sleep } from "node:timers/promises";
import { workedOff } from "./backlog.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { type Books, readBooks } from "./catchup_books.ts";
import { latencyWithin, placeUntil, startSteadyLoad, type Timed } from "./catchup_load.ts";
import { catchUpReport } from "./catchup_report.ts";
import { type CatchUpShop, type Database, lagOf, openCatchUpShop } from "./catchup_shop.ts";
import { readCpu } from "./processes.ts";
import { probeDisk, type Quiet, readBusyMs, shareOfMachine } from "./quiet.ts";
import { count, number } from "./report.ts";
import { ANALYTICS } from "./shop_services.ts";
import type { Latency } from "./stats.ts";

/** The orders that were due while something was the case. */
export interface Span extends Quiet {
  readonly seconds: number;
  readonly latency: Latency;
  /** CPU time by process, in milliseconds; undefined where the system does not tell. */
  readonly cpuMs: Readonly<Record<string, number>> | undefined;
}

/** The analytics of one shop, stopped and started again. */
export interface CatchUpRun {
  readonly database: Database;
  readonly versions: Readonly<Record<string, string>>;
  /** Messages that waited for the analytics when their process was started. */
  readonly events: number;
  /** From the start of the process until it said that it was ready. */
  readonly readySeconds: number;
  /** And until each of its consumers has been without lag; undefined if that was given up. */
  readonly seconds: number | undefined;
  /** The steady load without the analytics, while they catch up, and with them afterwards. */
  readonly without: Span;
  readonly during: Span;
  readonly afterwards: Span;
  /** Why orders of the steady load did not complete. */
  readonly errors: readonly string[];
  readonly books: Books;
}

/**
 * Orders a second while it is measured, by default: what leaves most of two cores idle, so that what the analytics take is
 * seen in the orders and not the queue of a busy shop; and enough for a p99 of the seconds that the catching up takes.
 */
export const STEADY_RATE = 25;
/** Orders in flight while what is to be missed is placed: close to as fast as the shop is. */
const FILLING = 64;
/** So many events come of an order, about: few are missed by few orders. */
const EVENTS_OF_AN_ORDER = 25;
/** It was idle, or busy with other things: its first orders are not measured. */
const SETTLE_MS = 2_000;
/** A fast catching up lasts for seconds, of which each look takes the server some time. */
const LOOK_EVERY_MS = 50;
/** The figure to compare with is 4 minutes. Whatever takes longer is not waited for. */
const GIVE_UP_MS = 300_000;

export const catchup: Benchmark = {
  name: "catchup",
  description: "analytics that have missed many events: how soon they have caught up, and what orders notice",
  async run(context) {
    const { options } = context;
    const runs: CatchUpRun[] = [];
    for (let round = 0; round < options.repeat; round++) {
      const order = round % 2 === 0 ? options.databases : options.databases.toReversed();
      for (const database of order) runs.push(await runOne(database, context));
    }
    return catchUpReport(runs, options);
  },
};

/** In a new shop. */
async function runOne(database: Database, context: Context): Promise<CatchUpRun> {
  const { folder, signal, show } = context;
  show(`${database}: starting`);
  await using shop = await openCatchUpShop(database, { dataDir: folder(database), signal });
  // Its database is made, and it has read what the catalogue is made of.
  await caughtUp(shop, signal);
  await shop.shop.stop(ANALYTICS);
  await miss(shop, database, context);
  const measured = await measure(shop, database, context);
  await workedOff(shop, { signal });
  if (measured.seconds !== undefined) await caughtUp(shop, signal);
  const run = { database, versions: shop.versions, ...measured, books: await readBooks(shop) };
  tellOf(run, context);
  return run;
}

/** Has as many events happen as the command line says, and the shop come to rest. */
async function miss(shop: CatchUpShop, database: Database, { options, signal, show }: Context) {
  const { events } = options;
  const isEnough = async () => {
    const missed = await lagOf(shop);
    show(`${database}: ${count(missed)} of ${count(events)} events missed`);
    return missed >= events;
  };
  const { checkout } = shop.orders;
  const inFlight = Math.min(FILLING, Math.ceil(events / EVENTS_OF_AN_ORDER));
  await placeUntil(isEnough, { checkout, inFlight, signal });
  await workedOff(shop, { signal });
}

async function measure(shop: CatchUpShop, database: Database, { options, signal, show, home }: Context) {
  const probeMs = probeDisk(home);
  const load = startSteadyLoad(shop.orders.checkout, { rate: options.steady, signal });
  const rest = (ms: number) => sleep(ms, undefined, { signal });
  show(`${database}: orders without analytics`);
  await rest(SETTLE_MS);
  const without = openSpan(shop);
  await rest(options.seconds * 1_000);
  const events = await lagOf(shop);
  const closedWithout = without.close();

  show(`${database}: catching up with ${count(events)} events`);
  const during = openSpan(shop);
  const startedAt = performance.now();
  const starting = shop.shop.start(ANALYTICS).then(() => (performance.now() - startedAt) / 1_000);
  const [readySeconds, seconds] = await Promise.all([starting, untilNoLag(shop, { startedAt, signal })]);
  const closedDuring = during.close();

  show(`${database}: orders with analytics`);
  const afterwards = openSpan(shop);
  await rest(options.seconds * 1_000);
  const closedAfterwards = afterwards.close();
  const orders = await load.stop();
  const spanOf = ({ from, to, ...span }: Closed): Span => ({
    ...span,
    probeMs,
    seconds: (to - from) / 1_000,
    latency: latencyWithin(orders, { from, to }),
  });
  return {
    events,
    readySeconds,
    seconds,
    without: spanOf(closedWithout),
    during: spanOf(closedDuring),
    afterwards: spanOf(closedAfterwards),
    errors: errorsOf(orders),
  };
}

/**
 * Seconds until each consumer's lag has been 0; undefined if that takes too long. Of orders that come in meanwhile, one
 * consumer or another has always something under way.
 */
export async function untilNoLag(
  { lags }: Pick<CatchUpShop, "lags">,
  { startedAt, signal }: { startedAt: number; signal: AbortSignal },
): Promise<number | undefined> {
  const caughtUp = new Set<string>();
  for (;;) {
    const askedAt = performance.now();
    const now = await lags();
    for (const [stream, lag] of now) if (lag === 0) caughtUp.add(stream);
    if (caughtUp.size === now.size) return (performance.now() - startedAt) / 1_000;
    if (askedAt - startedAt > GIVE_UP_MS) return undefined;
    await sleep(Math.max(0, askedAt + LOOK_EVERY_MS - performance.now()), undefined, { signal });
  }
}

/** @throws {Error} If the analytics do not come to the end of what there is. */
async function caughtUp(shop: CatchUpShop, signal: AbortSignal): Promise<void> {
  const left = await workedOff({ backlog: () => lagOf(shop) }, { signal });
  if (left !== 0)
    throw new Error(`Cannot measure the analytics: they leave ${left} messages of a shop at rest`);
}

interface Closed extends Omit<Span, "latency" | "seconds" | "probeMs"> {
  readonly from: number;
  readonly to: number;
}

function openSpan({ pids }: CatchUpShop): { close(): Closed } {
  const sample = () => ({
    at: performance.now(),
    cpu: readCpu(pids()),
    busyMs: readBusyMs(),
    generator: process.cpuUsage(),
  });
  const opened = sample();
  return {
    close() {
      const closed = sample();
      const { user, system } = process.cpuUsage(opened.generator);
      const cpuMs =
        closed.cpu &&
        Object.fromEntries(
          // One that has been started since had used nothing.
          Object.entries(closed.cpu).map(([name, ms]) => [name, ms - (opened.cpu?.[name] ?? 0)]),
        );
      const used = cpuMs && Object.values(cpuMs).reduce((sum, ms) => sum + ms, (user + system) / 1_000);
      const busyMs = closed.busyMs === undefined ? undefined : closed.busyMs - (opened.busyMs ?? 0);
      const foreign =
        busyMs === undefined || used === undefined
          ? undefined
          : shareOfMachine(busyMs - used, closed.at - opened.at);
      return { from: opened.at, to: closed.at, cpuMs, foreign };
    },
  };
}

function errorsOf(orders: readonly Timed[]): string[] {
  return orders.flatMap(({ error }) => (error === undefined ? [] : [error]));
}

function tellOf({ database, events, seconds, without, during }: CatchUpRun, { tell }: Context): void {
  const time = seconds === undefined ? "not caught up" : `caught up after ${number(seconds)} s`;
  tell(
    `${database}: ${count(events)} events, ${time}; an order took ${number(without.latency.p50)} ms, ` +
      `meanwhile ${number(during.latency.p50)} (p99 ${number(without.latency.p99)} and ${number(during.latency.p99)})`,
  );
}
