import { setTimeout as sleep } from "node:timers/promises";
import { natsServerName } from "../tools/processes.ts";
import type { Shop } from "../tools/supervisor.ts";
import { MONITOR, rssOf } from "./growth_shop.ts";
import { readCpu } from "./processes.ts";
import { pidsOf } from "./shop.ts";

/** How the monitor comes to compare everything that was stored before it was started. */
export interface CatchUp {
  /** From the call until all has been compared; undefined if that was given up. */
  readonly seconds: number | undefined;
  /** CPU time of the monitor, and of the server meanwhile, in milliseconds. */
  readonly cpuMs: number | undefined;
  readonly serverCpuMs: number | undefined;
  /** Resident memory of the monitor in bytes: the most there was, and at the end. */
  readonly rssMax: number;
  readonly rssAfter: number;
  /** Invariants that it finds violated. Zero, or the history is no good. */
  readonly violations: number;
}

/** How fast the monitor reads a history is known after so long. */
export const CATCH_UP_MS = 120_000;
const LOOK_EVERY_MS = 500;

/** Watches the monitor, which has just been started, until it has compared what was stored before now. */
export async function watchCatchUp(
  shop: Shop,
  { signal, show, giveUpMs }: { signal: AbortSignal; show: (text: string) => void; giveUpMs: number },
): Promise<CatchUp> {
  const pids = pidsOf(shop, [MONITOR, natsServerName]);
  const began = { at: Date.now(), cpu: readCpu(pids) };
  let rssMax = 0;
  for (;;) {
    await sleep(LOOK_EVERY_MS, undefined, { signal });
    rssMax = Math.max(rssMax, rssOf(shop, MONITOR));
    const metrics = await readMetrics(shop.url(MONITOR));
    const upTo = metrics.get("shop_reconciler_compared_up_to_timestamp_seconds")?.[0] ?? 0;
    const passed = Date.now() - began.at;
    show(
      `monitor: has compared the ledgers up to ${upTo === 0 ? "nothing" : new Date(upTo * 1_000).toISOString()}`,
    );
    const done = upTo * 1_000 >= began.at;
    if (!done && passed < giveUpMs) continue;
    const cpu = readCpu(pids);
    const spent = (name: string) =>
      cpu?.[name] === undefined ? undefined : cpu[name] - (began.cpu?.[name] ?? 0);
    return {
      seconds: done ? passed / 1_000 : undefined,
      cpuMs: spent(MONITOR),
      serverCpuMs: spent(natsServerName),
      rssMax,
      rssAfter: rssOf(shop, MONITOR),
      violations: (metrics.get("shop_reconciler_violations") ?? []).reduce((sum, one) => sum + one, 0),
    };
  }
}

/** The values of each metric, whatever its labels. */
async function readMetrics(url: string): Promise<Map<string, number[]>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return parseMetrics(text);
}

/** `text` in Prometheus' text format. */
export function parseMetrics(text: string): Map<string, number[]> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const pairs = lines.map((line) => ({
    name: /^[^\s{]*/.exec(line)?.[0] ?? "",
    value: Number(line.slice(line.lastIndexOf(" ") + 1)),
  }));
  const groups = Map.groupBy(pairs, ({ name }) => name);
  return new Map([...groups].map(([name, all]) => [name, all.map(({ value }) => value)]));
}
