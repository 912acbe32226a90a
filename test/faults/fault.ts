import type { World, WorldOptions } from "./world.ts";

/** How much of a fault there is to be. */
export interface Extent {
  /** Orders to place while it goes on, at least. */
  readonly orders: number;
  /** How often it is repeated. */
  readonly rounds: number;
}

/** A named test: something goes wrong while orders are placed, and afterwards everything has to be right. */
export interface Fault {
  readonly name: string;
  /** What is done, for the table of results. */
  readonly does: string;
  /** What has to hold, besides what holds after every one of them. */
  readonly passes: string;
  readonly world: WorldOptions;
  /** @returns What was found to be wrong, one line each, besides what the audit finds afterwards. */
  run(world: World, extent: Extent): Promise<readonly string[]>;
}

/** What holds after every fault: the audit of all that is stored. */
export const always =
  "every order that was accepted exists once and has ended as it does without faults (I3, I5); money and stock balance " +
  "to the unit (I1, I2); each capture, refund, shipment and mail once (I4); batches are whole; nothing is left " +
  "unacknowledged; DEAD_LETTER is empty";

/** What none of them tries. */
export const untried =
  "Not tried: a power cut (files that one may lose are removed instead), a disk that loses or changes what it has " +
  "acknowledged, clocks that disagree, more than one machine, the real payment provider and mail servers.";
