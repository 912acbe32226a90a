import type { NatsConnection } from "@nats-io/transport-node";
import { splitSubject } from "./contracts/contract.ts";
import { readPage, type StoredMessage } from "./pages.ts";
import { topology } from "./topology.ts";

/** All streams that hold messages about orders. */
export const ledgers = topology.streams.filter(({ owner }) => owner !== undefined);

/** Subjects whose id is no order's. */
const others = new Set([
  "order.id_secret",
  "order.idempotency_key",
  "order.catalogue_item",
  "inventory.item",
  "inventory.item_priced",
]);

/** Streams of which some subjects have a kind behind the order's id. */
const WITH_KINDS = new Set(["PAYMENT", "NOTIFICATION"]);

/** The order that a message is about, and its kind; undefined if it is about none. A mail's kind is part of it. */
export function aboutOrder(subject: string): { orderId: string; kind: string } | undefined {
  const { prefix, id } = splitSubject(subject);
  if (id === "" || others.has(prefix)) return undefined;
  const dot = id.indexOf(".");
  return dot < 0
    ? { orderId: id, kind: prefix }
    : { orderId: id.slice(0, dot), kind: `${prefix}.*.${id.slice(dot + 1)}` };
}

/** What one stream holds about an order. */
export interface AboutOrder {
  readonly stream: string;
  /** In stream order. */
  readonly messages: readonly StoredMessage[];
  /** Whether it holds more than was asked for. */
  readonly more: boolean;
}

/**
 * Everything that each ledger holds about one order, a moment old at most. The cost is that of the order, whatever else the
 * streams hold.
 *
 * @param orderId An order's, or a text that could be one: no `.`, `*` or `>` in it.
 * @param options.limit Messages of one stream. Default: all of them.
 * @throws {Error} If a server does not answer: `isUnavailable()` knows it.
 */
export function readAboutOrder(
  connection: NatsConnection,
  orderId: string,
  { limit = Number.POSITIVE_INFINITY }: { limit?: number } = {},
): Promise<AboutOrder[]> {
  return Promise.all(
    ledgers.map(async ({ name, prefix }) => {
      const subjects = [
        `${prefix}.*.${orderId}`,
        ...(WITH_KINDS.has(name) ? [`${prefix}.*.${orderId}.*`] : []),
      ];
      const found = await Promise.all(
        subjects.map((subject) => readAll(connection, name, { subject, limit })),
      );
      const messages = found
        .flatMap((part) => part.messages)
        .filter(({ subject }) => aboutOrder(subject) !== undefined)
        .sort((one, other) => one.seq - other.seq);
      return {
        stream: name,
        messages: messages.slice(0, limit),
        more: messages.length > limit || found.some(({ more }) => more),
      };
    }),
  );
}

async function readAll(
  connection: NatsConnection,
  stream: string,
  { subject, limit }: { subject: string; limit: number },
): Promise<{ messages: StoredMessage[]; more: boolean }> {
  const all: StoredMessage[] = [];
  for (let from = 1; ; ) {
    const page = await readPage(connection, stream, { subject, from, limit: limit - all.length });
    all.push(...page.messages);
    const last = page.messages.at(-1);
    if (last === undefined || page.pending === 0) return { messages: all, more: false };
    if (all.length >= limit) return { messages: all, more: true };
    from = last.seq + 1;
  }
}
