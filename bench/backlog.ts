import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { ConsumerSpec } from "../nats/mod.ts";
import { count } from "./report.ts";
import { measuredConsumers } from "./shop_services.ts";
import type { Target } from "./target.ts";

/** Messages for each order that may be left to be done after the window. More, and it is a speed that cannot be kept. */
const MAX_LEFT_BEHIND = 0.05;
/** An order in flight has a message or two on their way, or none: the backlog swings by so many of them without growing. */
const SWING = 1;
const WORKED_OFF_WITHIN_MS = 60_000;
const ASK_AGAIN_MS = 50;
/** Redriven letters come by it, and nothing else: there are none here. */
const DEAD_LETTER = "DEAD_LETTER";

/** What a level says of the work that was not done when its window closed. */
export interface Backlog {
  /** By how many messages the backlog grew within the window, for each order completed; undefined if it is not counted. */
  readonly leftBehind?: number | undefined;
  /** How many messages were still to be handled when waiting for them was given up. */
  readonly unfinished?: number | undefined;
}

/** The consumers whose work belongs to an order. The monitor, which only looks on, has none; those of the analytics wait. */
export function workingConsumers(consumers: readonly ConsumerSpec[] = measuredConsumers): ConsumerSpec[] {
  return consumers.filter(({ stream }) => stream !== DEAD_LETTER);
}

/** How many messages the shop's services have not handled yet: not delivered, or delivered and not acknowledged. */
export async function shopBacklog(connection: NatsConnection): Promise<number> {
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  const infos = await Promise.all(
    workingConsumers().map(({ stream, service }) => jsm.consumers.info(stream, service)),
  );
  return infos.reduce((sum, info) => sum + info.num_pending + info.num_ack_pending, 0);
}

/**
 * Waits until nothing is left to be handled, so that what is measured next does not pay for it.
 * @returns What is left when waiting is given up: 0 if all has been handled; undefined if the target does not count it.
 * @throws The signal's reason, if it aborts.
 */
export async function workedOff(
  { backlog }: Pick<Target, "backlog">,
  { signal, withinMs = WORKED_OFF_WITHIN_MS }: { signal: AbortSignal; withinMs?: number },
): Promise<number | undefined> {
  if (backlog === undefined) return undefined;
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    const left = await backlog();
    if (left === 0 || performance.now() >= giveUpAt) return left;
    await sleep(ASK_AGAIN_MS, undefined, { signal });
  }
}

/** A level as it is told of, with what its backlog is compared to. */
interface Told extends Backlog {
  readonly what: string;
  /** Orders in flight. */
  readonly concurrency: number;
  /** Orders within the window. */
  readonly completed: number;
}

/** A line for each of `levels` whose figures leave out work that was put off. */
export function leftBehindProblems(levels: readonly Told[]): string[] {
  return levels.flatMap(({ what, concurrency, completed, leftBehind = 0, unfinished = 0 }) => [
    ...(leftBehind > MAX_LEFT_BEHIND + (SWING * concurrency) / completed
      ? [`${what}: for each order completed ${leftBehind.toFixed(2)} messages more were left to be handled`]
      : []),
    ...(unfinished > 0
      ? [
          `${what}: ${count(unfinished)} messages were not handled ${WORKED_OFF_WITHIN_MS / 1_000} s after the last order`,
        ]
      : []),
  ]);
}
