import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { readPage, type StoredMessage, splitSubject, topology } from "../../nats/mod.ts";
import { aboutOrder, type Facts, fold, newFacts } from "./facts.ts";

/** All streams that hold messages about orders. */
export const ledgers = topology.streams.filter(({ owner }) => owner !== undefined);

interface Mention {
  readonly stream: string;
  readonly seq: number;
  /** The subject without its id. */
  readonly kind: string;
}

/** What the ledgers say of one order, and the messages that say it. */
export interface Lookup {
  readonly facts: Facts;
  readonly mentions: readonly Mention[];
}

/**
 * Everything that is stored about one order. The cost is that of the order, whatever else the streams hold.
 * @param upTo Sequence up to which each stream counts. Default: all of it.
 */
export async function lookUp(
  connection: NatsConnection,
  orderId: string,
  upTo: (stream: string) => number = () => Number.POSITIVE_INFINITY,
): Promise<Lookup> {
  const facts = newFacts(orderId);
  const mentions: Mention[] = [];
  const pages = await Promise.all(
    ledgers.map(async ({ name, prefix }) => {
      const subjects = [
        `${prefix}.*.${orderId}`,
        ...(name === "NOTIFICATION" ? [`${prefix}.*.${orderId}.*`] : []),
      ];
      const found = await Promise.all(subjects.map((subject) => readAll(connection, name, subject)));
      return { stream: name, messages: found.flat() };
    }),
  );
  for (const { stream, messages } of pages) {
    for (const message of messages) {
      if (message.seq > upTo(stream)) break;
      const about = aboutOrder(message.subject);
      if (about === undefined) continue;
      fold(facts, about.kind, message);
      mentions.push({ stream, seq: message.seq, kind: splitSubject(message.subject).prefix });
    }
  }
  return { facts, mentions };
}

async function readAll(
  connection: NatsConnection,
  stream: string,
  subject: string,
): Promise<StoredMessage[]> {
  const all: StoredMessage[] = [];
  for (let from = 1; ; ) {
    const { messages, pending } = await readPage(connection, stream, { subject, from });
    all.push(...messages);
    const last = messages.at(-1);
    if (last === undefined || pending === 0) return all;
    from = last.seq + 1;
  }
}

/** How far a message is from having been dealt with by all its readers. */
export type Progress = "read" | "under way" | "waiting";

/** How far every consumer of the shop is, as it was a moment ago. */
export interface Positions {
  progressOf(mention: Mention): Progress;
}

export async function readPositions(jsm: JetStreamManager): Promise<Positions> {
  const consumers = await Promise.all(
    topology.consumers
      .filter(({ contracts }) => contracts.length > 0)
      .map(async ({ stream, service, contracts }) => {
        const { ack_floor, delivered } = await jsm.consumers.info(stream, service);
        const kinds = new Set(contracts.map(({ subject }) => subject));
        return { stream, kinds, done: ack_floor.stream_seq, delivered: delivered.stream_seq };
      }),
  );
  return {
    progressOf({ stream, seq, kind }) {
      const readers = consumers.filter((consumer) => consumer.stream === stream && consumer.kinds.has(kind));
      if (readers.some(({ delivered }) => delivered < seq)) return "waiting";
      return readers.some(({ done }) => done < seq) ? "under way" : "read";
    },
  };
}
