import { parentPort } from "node:worker_threads";
import { type Simulation, type SimulationOptions, simulate } from "./simulate.ts";

/** Seeds for a worker to run, one after the other. */
export interface Range {
  readonly from: number;
  readonly count: number;
  readonly options: Omit<SimulationOptions, "say">;
}

/** What came of a range. */
export interface RangeResult {
  readonly count: number;
  readonly orders: number;
  readonly events: number;
  readonly failed: readonly Simulation[];
}

export function runRange({ from, count, options }: Range): RangeResult {
  const runs = Array.from({ length: count }, (_, index) => simulate(from + index, options));
  return {
    count,
    orders: runs.reduce((sum, { orders }) => sum + orders, 0),
    events: runs.reduce((sum, { events }) => sum + events, 0),
    failed: runs.filter(({ faults }) => faults.length > 0),
  };
}

parentPort?.on("message", (range: Range) => parentPort?.postMessage(runRange(range)));
