import { once } from "node:events";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Simulation, SimulationOptions } from "./simulate.ts";
import type { Range, RangeResult } from "./worker.ts";

export interface RunOptions extends Omit<SimulationOptions, "say"> {
  /** The first seed. */
  from: number;
  /** How many seeds. */
  count: number;
  /** Told how many seeds are done. */
  onProgress?(done: number): void;
}

export interface RunResult {
  /** Seeds that were run: fewer than asked for if too many failed. */
  readonly count: number;
  readonly orders: number;
  readonly events: number;
  /** By seed. */
  readonly failed: readonly Simulation[];
}

/** Seeds that a worker gets at a time: about a second's work. */
const RANGE = 100;
/** So many failures say as much as more of them. */
const MAX_FAILED = 10;

/** Runs a range of seeds on all processors. Stops early when too many have failed. */
export async function runSeeds({ from, count, onProgress, ...options }: RunOptions): Promise<RunResult> {
  let next = from;
  let done = 0;
  let orders = 0;
  let events = 0;
  const failed: Simulation[] = [];
  const take = (): Range | undefined => {
    const size = Math.min(RANGE, from + count - next);
    if (size <= 0 || failed.length >= MAX_FAILED) return undefined;
    next += size;
    return { from: next - size, count: size, options };
  };
  await Promise.all(
    Array.from({ length: Math.min(availableParallelism(), Math.ceil(count / RANGE)) }, async () => {
      const worker = new Worker(new URL("./worker.ts", import.meta.url));
      try {
        for (let range = take(); range !== undefined; range = take()) {
          const result = await ask(worker, range);
          done += result.count;
          orders += result.orders;
          events += result.events;
          failed.push(...result.failed);
          onProgress?.(done);
        }
      } finally {
        await worker.terminate();
      }
    }),
  );
  return { count: done, orders, events, failed: failed.sort((a, b) => a.seed - b.seed) };
}

async function ask(worker: Worker, range: Range): Promise<RangeResult> {
  // Rejects if the worker dies of an error.
  const answer = once(worker, "message");
  worker.postMessage(range);
  const [result] = await answer;
  return result as RangeResult;
}
