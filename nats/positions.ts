import type { ConsumerInfo, JetStreamManager } from "@nats-io/jetstream";
import { infoOf } from "./lag.ts";
import { type ConsumerSpec, topology as shop, type Topology, workingConsumers } from "./topology.ts";

/** How far a message is from having been dealt with by one of its readers, as far as the server says. */
export interface Reading {
  /** The reader, whose consumer is named after it. */
  readonly service: string;
  /**
   * - `waiting`: it was not delivered yet.
   * - `under way`: it was delivered, and is acknowledged out of turn at most: the consumer's oldest open message is it, or
   *   comes before it.
   * - `missing`: there is no such consumer, so that it will not be delivered.
   */
  readonly progress: "waiting" | "under way" | "missing";
  /** Of all messages that the consumer has not acknowledged, how many were delivered more than once. */
  readonly redelivered: number;
}

/** How far every consumer of the shop is that has work to do, as it was a moment ago: projections have none. */
export interface Positions {
  /**
   * Readers that may not have dealt with a message. A projection is none of them: nothing comes of what it counts, so that
   * what is wrong is wrong however far behind it is.
   * @param kind The subject without its id.
   */
  readingsOf(message: { stream: string; seq: number; kind: string }): Reading[];
  /** Whether the service may have to deal with what became of its dead letter. */
  readingsOfLetter(change: { service: string; seq: number }): Reading[];
}

/**
 * One request for each consumer.
 *
 * @throws {Error} If the server does not answer.
 */
export async function readPositions(
  jsm: JetStreamManager,
  { topology = shop }: { topology?: Topology } = {},
): Promise<Positions> {
  const consumers = await Promise.all(
    workingConsumers(topology.consumers).map(async (spec) => {
      const kinds = new Set(spec.contracts.map(({ subject }) => subject));
      return { spec, kinds, info: await infoOf(jsm, spec) };
    }),
  );
  return {
    readingsOf: ({ stream, seq, kind }) =>
      consumers
        .filter(({ spec, kinds }) => spec.stream === stream && kinds.has(kind))
        .flatMap(({ spec, info }) => readingsAt(spec, info, seq)),
    readingsOfLetter: ({ service, seq }) =>
      consumers
        .filter(({ spec }) => spec.deadLetters === true && spec.service === service)
        .flatMap(({ spec, info }) => readingsAt(spec, info, seq)),
  };
}

function readingsAt({ service }: ConsumerSpec, info: ConsumerInfo | undefined, seq: number): Reading[] {
  if (info === undefined) return [{ service, progress: "missing", redelivered: 0 }];
  const { delivered, ack_floor, num_redelivered: redelivered } = info;
  if (delivered.stream_seq < seq) return [{ service, progress: "waiting", redelivered }];
  return ack_floor.stream_seq < seq ? [{ service, progress: "under way", redelivered }] : [];
}
