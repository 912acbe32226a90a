import type { JetStreamManager } from "@nats-io/jetstream";
import { millis } from "@nats-io/transport-node";
import { topology } from "../nats/mod.ts";
import { timersPastMs } from "./history_timers.ts";

/**
 * Puts every consumer where it would be had it read and acknowledged all that is stored (ADR-60, nats-server 2.14+). One
 * that finds nothing to read stays where it is, as it would.
 *
 * @throws {Error} If one of them still has something to read.
 */
export async function skipHistory(jsm: JetStreamManager): Promise<void> {
  for (const { stream, service } of topology.consumers) {
    const { num_pending: pending } = await jsm.consumers.info(stream, service);
    if (pending === 0) continue;
    const { state } = await jsm.streams.info(stream);
    const { num_pending: left } = await jsm.consumers.reset(stream, service, state.last_seq + 1);
    if (left > 0) {
      throw new Error(`Cannot put ${stream}/${service} behind the history: it has ${left} messages to read`);
    }
  }
}

/**
 * How long what was just stored is no history yet to the server: it reads the messages of the duplicate window when it
 * starts, and keeps an eye on timers until they were due.
 */
export async function freshMs(jsm: JetStreamManager): Promise<number> {
  const infos = await Promise.all(topology.streams.map(({ name }) => jsm.streams.info(name)));
  return Math.max(timersPastMs(), ...infos.map(({ config }) => millis(config.duplicate_window)));
}
