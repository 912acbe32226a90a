import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { Owner, Timeline } from "./time.ts";

/** Mistakes that can be built in on purpose, to see that they are found. */
export const bugs = [
  "ack_before_commit",
  "unknown_is_committed",
  "unknown_is_tried_again_unguarded",
  "no_guards",
  "cache_is_trusted",
  "new_idempotency_key_each_time",
  "batches_are_torn",
] as const;
export type Bug = (typeof bugs)[number];

/** What all parts of one run share. */
export interface Surroundings {
  readonly time: Timeline;
  readonly random: Random;
  readonly network: Network;
  readonly bug: Bug | undefined;
  /** Whether everything that is stored is encoded on its way, which takes several times as long. */
  readonly wire: boolean;
  /** Says what happened, for people. */
  say(who: string, text: () => string): void;
}

/** The clock begins here. */
const EPOCH = Date.UTC(2026, 0, 1);

export function dateOf(ms: number): Date {
  return new Date(EPOCH + ms);
}

export function msOf(date: Date): number {
  return date.getTime() - EPOCH;
}

/** One instance of a service: it can die and lose all that it has in memory, or stand still. */
export interface Process extends Owner {
  readonly service: string;
  readonly name: string;
  alive: boolean;
}
