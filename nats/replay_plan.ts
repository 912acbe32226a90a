import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { consumerConfig } from "./apply.ts";
import { orMissing } from "./compare.ts";
import { nameOf } from "./consumer_name.ts";
import { countFrom } from "./pages.ts";
import { viewStored } from "./read.ts";
import type { ConsumerSpec } from "./topology.ts";

/** With the operator's credential. */
export interface ReplaySource {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
}

/** From which message on: the first, the one of this sequence or the next there is, the first that was stored then or later. */
export type ReplayFrom =
  | { readonly kind: "start" }
  | { readonly kind: "sequence"; readonly seq: number }
  | { readonly kind: "time"; readonly time: Date };

/** What a replay to one consumer comes to. */
export interface ReplayPlan {
  readonly spec: ConsumerSpec;
  /** Sequence of the first message that may be replayed. */
  readonly from: number;
  /** Sequence up to which everything is acknowledged. What comes after it is still to be handled, replay or not. */
  readonly upTo: number;
  /** Sequence of the stream's last message. */
  readonly last: number;
  /** Messages from `from` to `upTo` that the consumer takes, by subject without the id; none that there are none of. */
  readonly messages: ReadonlyMap<string, number>;
}

/** The replay cannot begin, or go on. Nothing was reset. */
export class ReplayError extends Error {
  override name = "ReplayError";
}

/**
 * Looks, and changes nothing. Costs a few requests, whatever there is to replay.
 *
 * @throws {ReplayError} If there is no such consumer, or `from` is a sequence that the stream does not have yet.
 * @throws {Error} If the server does not answer.
 */
export async function planReplay(
  { connection, jsm }: ReplaySource,
  spec: ConsumerSpec,
  { from }: { from: ReplayFrom },
): Promise<ReplayPlan> {
  const { stream, service } = spec;
  const name = nameOf({ stream, name: service });
  const info = await orMissing(jsm.consumers.info(stream, service));
  if (info === undefined)
    throw new ReplayError(`Cannot replay ${name}: the server has no such consumer; apply the topology`);
  const { state } = await jsm.streams.info(stream);
  const last = state.last_seq;
  if (from.kind === "sequence" && from.seq > last) {
    throw new ReplayError(`Cannot replay ${name} from ${from.seq}: the last message of ${stream} is ${last}`);
  }
  // Before the message that it was made to begin at, there is nothing for it.
  const first = Math.max(await firstOf(jsm, stream, { from, last }), info.config.opt_start_seq ?? 1);
  const upTo = info.ack_floor.stream_seq;
  const filters = consumerConfig(spec).filter_subjects ?? [];
  const counts = await Promise.all(
    filters.map(async (filter): Promise<[string, number]> => {
      if (first > upTo) return [filter, 0];
      const [all, later] = await Promise.all([
        countFrom(connection, stream, { filter, from: first }),
        countFrom(connection, stream, { filter, from: upTo + 1 }),
      ]);
      return [filter.replace(/\.>$/, ""), Math.max(0, all - later)];
    }),
  );
  return { spec, from: first, upTo, last, messages: new Map(counts.filter(([, count]) => count > 0)) };
}

/** How many messages would be delivered again. */
export function totalOf({ messages }: Pick<ReplayPlan, "messages">): number {
  return messages.values().reduce((sum, count) => sum + count, 0);
}

async function firstOf(
  jsm: JetStreamManager,
  stream: string,
  { from, last }: { from: ReplayFrom; last: number },
): Promise<number> {
  switch (from.kind) {
    case "start":
      return 1;
    case "sequence":
      return from.seq;
    case "time": {
      const [stored] = await viewStored(jsm, stream, { subject: ">", since: from.time, limit: 1 });
      return stored?.seq ?? last + 1;
    }
    default:
      return from satisfies never;
  }
}
