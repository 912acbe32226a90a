import type { ConsumerInfo, JetStreamManager } from "@nats-io/jetstream";
import { consumerConfig } from "./apply.ts";
import { orMissing } from "./compare.ts";
import { type ConsumerSpec, topology as shop, type Topology } from "./topology.ts";

/** How far a durable consumer is behind, as the server sees it: its service need not run. */
export interface ConsumerLag {
  readonly stream: string;
  /** Of the consumer, which is its service's. */
  readonly consumer: string;
  /** Whether the server has none of this name. All else is 0 then. */
  readonly missing: boolean;
  /** Until when it is paused; undefined if it is not. A replay pauses its consumer for a moment. */
  readonly pausedUntil: Date | undefined;
  /** Messages that have not been delivered yet. */
  readonly pending: number;
  /** Messages that have been delivered and not acknowledged. */
  readonly unacked: number;
  /** Those of `unacked` that have been delivered more than once. */
  readonly redelivered: number;
  /**
   * Age of the oldest message that is not acknowledged, delivered or not, by the server's clock when it was stored and
   * this process's now; 0 if there is none.
   */
  readonly seconds: number;
  /** Sequence of the stream up to which all that it takes is acknowledged. */
  readonly ackFloor: number;
}

/**
 * The lag of every consumer of the topology, in its order.
 *
 * One request a consumer, and for each that is behind one more per subject that it takes: what it costs does not depend on
 * how much there is to catch up with, nor on the history.
 *
 * @throws {Error} If the server does not answer.
 */
export function readLags(
  jsm: JetStreamManager,
  options: { topology?: Topology; now?: () => number } = {},
): Promise<ConsumerLag[]> {
  const { topology = shop, now = Date.now } = options;
  return Promise.all(topology.consumers.map((spec) => readLag(jsm, spec, now)));
}

async function readLag(jsm: JetStreamManager, spec: ConsumerSpec, now: () => number): Promise<ConsumerLag> {
  const { stream, service: consumer } = spec;
  const info = await infoOf(jsm, spec);
  if (info === undefined) {
    const nothing = {
      pausedUntil: undefined,
      pending: 0,
      unacked: 0,
      redelivered: 0,
      seconds: 0,
      ackFloor: 0,
    };
    return { stream, consumer, missing: true, ...nothing };
  }
  const { num_pending: pending, num_ack_pending: unacked, num_redelivered: redelivered } = info;
  const ackFloor = info.ack_floor.stream_seq;
  const oldest = pending + unacked > 0 ? await oldestAfter(jsm, spec, ackFloor) : undefined;
  const seconds = oldest === undefined ? 0 : Math.max(0, now() - oldest) / 1_000;
  const { pause_until: until } = info.config;
  const pausedUntil = info.paused === true && until !== undefined ? new Date(until) : undefined;
  return { stream, consumer, missing: false, pausedUntil, pending, unacked, redelivered, seconds, ackFloor };
}

/** What the server says of a consumer; undefined if it has none of this name. */
export function infoOf(
  jsm: JetStreamManager,
  { stream, service }: ConsumerSpec,
): Promise<ConsumerInfo | undefined> {
  return orMissing(jsm.consumers.info(stream, service));
}

/**
 * When the first message after `floor` was stored that the consumer takes; Unix time in milliseconds. All up to its ack
 * floor are acknowledged, and the next one that it takes is not, whatever was acknowledged out of turn behind it.
 * Undefined if there is none by now.
 */
async function oldestAfter(
  jsm: JetStreamManager,
  spec: ConsumerSpec,
  floor: number,
): Promise<number | undefined> {
  const filters = consumerConfig(spec).filter_subjects ?? [];
  const found = await Promise.all(
    filters.map((filter) => jsm.direct.getMessage(spec.stream, { seq: floor + 1, next_by_subj: filter })),
  );
  const times = found.flatMap((stored) => (stored === null ? [] : [stored.time.getTime()]));
  return times.length === 0 ? undefined : Math.min(...times);
}
