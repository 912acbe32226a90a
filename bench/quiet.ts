import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { MS_PER_TICK } from "./processes.ts";
import { quantile } from "./stats.ts";

/**
 * Share of the machine's CPU time that may go to what is not measured. The kernel's own work for the disk is in it, and
 * comes to a few hundredths.
 */
const MAX_FOREIGN = 0.15;
/** How much slower the disk may be than at the best time of the run. */
const MAX_SLOWDOWN = 3;
const PROBES = 50;
const PROBE_BYTES = 4_096;

/** What tells whether a figure was taken on a quiet machine. */
export interface Quiet {
  /** Share of the machine's CPU time, from 0 to 1, that neither target nor load generator used. */
  readonly foreign?: number | undefined;
  /** How long the disk took to sync 4 KiB just before. */
  readonly probeMs: number;
}

/** CPU time of all that ran on this machine, the hypervisor's other guests included; undefined without a `/proc`. */
export function readBusyMs(): number | undefined {
  try {
    return parseBusyMs(readFileSync("/proc/stat", "latin1"));
  } catch {
    return undefined;
  }
}

/** `text` is the content of `/proc/stat`; see proc_stat(5). */
export function parseBusyMs(text: string): number {
  const fields = text.slice(0, text.indexOf("\n")).trim().split(/ +/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, _idle, _iowait, irq = 0, softirq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softirq + steal) * MS_PER_TICK;
}

/** The share of `ms` of all cores that `busyMs` is. */
export function shareOfMachine(busyMs: number, ms: number): number {
  return busyMs / (ms * cpus().length);
}

/** The median time of an append of 4 KiB with its sync, to a file of its own in `folder`. */
export function probeDisk(folder: string): number {
  const path = join(folder, "probe");
  const file = openSync(path, "a");
  try {
    const block = Buffer.alloc(PROBE_BYTES);
    const times = Array.from({ length: PROBES }, () => {
      const began = performance.now();
      writeSync(file, block);
      fdatasyncSync(file);
      return performance.now() - began;
    });
    return quantile(
      times.toSorted((a, b) => a - b),
      0.5,
    );
  } finally {
    closeSync(file);
    rmSync(path);
  }
}

/** A line for each of `levels` that something else disturbed: its figures are too bad to compare. */
export function disturbances(levels: readonly (Quiet & { readonly what: string })[]): string[] {
  const best = Math.min(...levels.map(({ probeMs }) => probeMs));
  return levels.flatMap(({ what, foreign = 0, probeMs }) => [
    ...(foreign > MAX_FOREIGN
      ? [`${what}: ${Math.round(foreign * 100)}% of the CPU went to other programs`]
      : []),
    ...(probeMs > best * MAX_SLOWDOWN
      ? [`${what}: the disk took ${probeMs.toFixed(2)} ms for a sync, at its best ${best.toFixed(2)} ms`]
      : []),
  ]);
}
