import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import { type Access, accessOptions, isUnavailable, topology, workingConsumers } from "../../nats/mod.ts";
import { drained } from "./drained.ts";
import { until } from "./until.ts";

/** What a test sees of a shop's streams, past all services. */
export interface Streams extends AsyncDisposable {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
  /** Every stored message about one order, in all ledgers. */
  messagesOf(orderId: string): Promise<{ subject: string; headers: MsgHdrs }[]>;
  /** Sequence of the last message of each ledger. */
  lastSequences(): Promise<Record<string, number>>;
  /**
   * Resolves when every consumer has acknowledged everything, but for projections: not every shop has somebody who counts.
   * @param options.projections Whether they count as well. Default false.
   */
  quiet(options?: { projections?: boolean }): Promise<void>;
}

/** @param access With the operator's credential, where the servers want one: `shop.operator`. */
export async function openStreams(access: Access): Promise<Streams> {
  const connection = await connect({ ...accessOptions(access), name: "test", maxReconnectAttempts: -1 });
  const jsm = await jetstreamManager(connection);
  return {
    connection,
    jsm,
    async messagesOf(orderId) {
      const found: { subject: string; headers: MsgHdrs }[] = [];
      for (const { name, prefix } of topology.streams) {
        for (const filter of [`${prefix}.*.${orderId}`, `${prefix}.*.${orderId}.*`]) {
          const batch = await jsm.direct.getBatch(name, { seq: 1, next_by_subj: filter, batch: 1_000 });
          try {
            for await (const { subject, header } of batch) found.push({ subject, headers: header });
          } catch (cause) {
            if (!(cause instanceof Error && "code" in cause && cause.code === 404)) throw cause;
          }
        }
      }
      return found;
    },
    async lastSequences() {
      const infos = await Promise.all(topology.streams.map(({ name }) => jsm.streams.info(name)));
      return Object.fromEntries(infos.map(({ config, state }) => [config.name, state.last_seq]));
    },
    async quiet({ projections = false } = {}) {
      const consumers = projections ? topology.consumers : workingConsumers();
      await until(
        "every consumer to be done",
        async () => {
          const done = await orUnavailable(
            Promise.all(consumers.map(({ stream, service }) => drained(jsm, stream, service))),
          );
          return done?.every(Boolean);
        },
        { timeoutMs: 45_000 },
      );
    },
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

/** Undefined if the servers cannot answer just now: one is starting, or they are between two leaders. */
export async function orUnavailable<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (cause) {
    if (!isUnavailable(cause)) throw cause;
    return undefined;
  }
}
