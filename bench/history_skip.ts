import type { JetStreamManager } from "@nats-io/jetstream";
import { topology } from "../nats/mod.ts";

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
