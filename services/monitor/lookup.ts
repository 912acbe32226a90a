import type { NatsConnection } from "@nats-io/transport-node";
import { aboutOrder, type Positions, readAboutOrder, splitSubject } from "../../nats/mod.ts";
import { type Facts, fold, newFacts } from "./facts.ts";

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
  for (const { stream, messages } of await readAboutOrder(connection, orderId)) {
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

/** How far a message is from having been dealt with by all its readers. */
export type Progress = "read" | "under way" | "waiting";

export function progressOf(mention: Mention, positions: Positions): Progress {
  const readings = positions.readingsOf(mention);
  if (readings.length === 0) return "read";
  return readings.every(({ progress }) => progress === "under way") ? "under way" : "waiting";
}
