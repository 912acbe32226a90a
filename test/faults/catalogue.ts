import { clusterFaults } from "./cluster.ts";
import { consumerFaults } from "./consumers.ts";
import { diskFaults } from "./disk.ts";
import type { Fault } from "./fault.ts";
import { halfBatchFaults } from "./half_batch.ts";
import { networkFaults } from "./network.ts";
import { outsideFaults } from "./outside.ts";
import { processFaults } from "./processes.ts";
import { timerFaults } from "./timers.ts";

/** Every named test, by the number of servers that the shop runs on. */
export const catalogue: Readonly<Record<1 | 3, readonly Fault[]>> = {
  1: [
    ...processFaults,
    ...halfBatchFaults,
    ...networkFaults,
    ...consumerFaults,
    ...timerFaults,
    ...outsideFaults,
    ...diskFaults,
  ],
  3: clusterFaults,
};

/** @throws {RangeError} If there is none of that name. */
export function faultOf(name: string, nodes: 1 | 3): Fault {
  const fault = catalogue[nodes].find((other) => other.name === name);
  if (fault === undefined) throw new RangeError(`There is no fault "${name}" of ${nodes} servers`);
  return fault;
}
