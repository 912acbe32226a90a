import { setTimeout as sleep } from "node:timers/promises";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { DeadlinePassedSchema } from "../../gen/shop/checkout/v1/deadline_passed_pb.ts";
import type { Handler } from "../../nats/mod.ts";
import { checkoutOf, firingOf } from "./handlers.ts";

/** A consumer whose messages come before the timers. */
export interface Source {
  stream: string;
  name: string;
}

const POLL_MS = 50;
/** After this a deadline takes effect though messages wait: one of them may be a message that cannot be handled. */
const MAX_WAIT_MS = 60_000;

/**
 * A check that whatever was stored for `sources` before the call has been handled, but for the last moment, of which the server
 * has not told its consumers yet. It resolves when that is so, and after {@linkcode MAX_WAIT_MS} at the latest. Calls that come while a check runs share the next one.
 */
export function catchUp(
  jsm: JetStreamManager,
  sources: readonly Source[],
): (signal: AbortSignal) => Promise<void> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<void> | undefined;
  return (signal) => {
    next ??= running.then(async () => {
      next = undefined;
      const check = Promise.all(sources.map((source) => handled(jsm, source, signal)));
      // Whoever comes next has a check of their own, however this one ends.
      running = Promise.allSettled([check]);
      await check;
    });
    return next;
  };
}

/**
 * A deadline is no reason to give up an answer that is waiting to be read: after the coordinator, or the server, was away,
 * timers and answers come together. So a timer that is due waits until the answers from before it are handled, and is
 * then decided on what they have changed.
 */
export function afterCatchUp(
  timer: Handler<typeof DeadlinePassedSchema>,
  caughtUp: (signal: AbortSignal) => Promise<void>,
): Handler<typeof DeadlinePassedSchema, "catch up", undefined> {
  return {
    contract: timer.contract,
    keys: (message, id) => timer.keys(message, id),
    decide(view, message, delivery) {
      const firing = firingOf(checkoutOf(view, message.orderId), message.deadline, delivery.now);
      if (firing === "due") return { kind: "perform", messages: [], effect: "catch up" };
      return timer.decide(view, message, delivery);
    },
    describe: () => ({ name: "wait for earlier answers", kind: "internal" }),
    async perform(_, { signal }) {
      await caughtUp(signal);
      return undefined;
    },
    conclude: (view, message, _, delivery) => timer.decide(view, message, delivery),
  };
}

/** Resolves when all that `source` had to deliver at the time of the call is acknowledged. */
async function handled(jsm: JetStreamManager, { stream, name }: Source, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + MAX_WAIT_MS;
  const begin = await jsm.consumers.info(stream, name);
  const target = begin.delivered.consumer_seq + begin.num_pending;
  for (
    let info = begin;
    info.ack_floor.consumer_seq < target;
    info = await jsm.consumers.info(stream, name)
  ) {
    if (performance.now() > deadline) return;
    await sleep(POLL_MS, undefined, { signal });
  }
}
