import type { Contract } from "./contracts/mod.ts";
import * as shop from "./contracts/shop.ts";
import { SCHEMAS } from "./registry/bucket.ts";

/** A stream, as this project uses them: file storage, limits retention, nothing that evicts. */
export interface StreamSpec {
  readonly name: string;
  readonly description: string;
  /** First token of all its subjects. */
  readonly prefix: string;
  /** The service that writes it, and the only one; undefined where every service writes its own part. */
  readonly owner: string | undefined;
  /** Services that write every part of a stream without owner. Default: none. */
  readonly writers?: readonly string[];
  /** Subject without the id whose messages are also sent to `watch.<subject>.<id>`, unstored, once they are stored. */
  readonly watched?: Contract;
}

/** A durable pull consumer, named after its service: what one service reads of one stream. */
export interface ConsumerSpec {
  readonly stream: string;
  readonly service: string;
  readonly contracts: readonly Contract[];
  /**
   * What handling its messages does outside the shop that cannot be taken back, in a word or two: `mails`. What is replayed
   * to such a consumer is not handled again. Default: nothing; replays are handled as always, and change nothing, since the
   * state shows what was decided.
   */
  readonly effects?: string;
  /**
   * Where it begins when it is new, in a stream that holds messages for it: with the `first`, or `now`, with those that are
   * stored from then on. One that was there before and is missing begins with the first in any case: nothing is skipped (ADR 26).
   * Default: `now` if it has effects, which would be those of the whole history, `first` otherwise.
   * One without effects of which it is said that it begins with the `first` starts over when a subject is added: by default that
   * is refused, since it costs the whole history.
   */
  readonly begins?: "first" | "now";
  /** Reads, instead of contracts, what becomes of the service's own dead letters: redriven ones come back by it. */
  readonly deadLetters?: boolean;
  /**
   * Whether the service keeps its position itself, with what it has counted (see `Projector`): it acknowledges all up to a
   * message at once, and may set the consumer back. Default false.
   */
  readonly projection?: boolean;
  /**
   * Whether it is delivered all of its stream, and skips what is of no contract of its: for projections, where subjects get
   * more than one message. There, nats-server 2.15 takes time by the square of what waits to find the next message for a
   * consumer with several filters (docs/performance.md). Default false: its contracts are its filters.
   */
  readonly unfiltered?: boolean;
}

/** What a service reads of a stream besides its own consumers' messages: for answers, never for decisions. */
export interface ViewSpec {
  readonly service: string;
  readonly stream: string;
  /** Whether it reads messages, by Direct Get. */
  readonly messages?: boolean;
  /** Whether it is told of each message that the stream is `watched` for. */
  readonly watched?: boolean;
  /** Services whose position in the stream it sees, or all of them. */
  readonly positions?: readonly string[] | "all";
  /** Whether it sees the stream's configuration and size. */
  readonly info?: boolean;
}

/** A key-value bucket: a stream that holds the last value of each key. Every service may read it. */
export interface BucketSpec {
  readonly name: string;
  readonly description: string;
  /** The service that may write every key; undefined where only the operator writes. */
  readonly owner: string | undefined;
}

/**
 * Entities that wait, for a person or a deadline: while there is a message of `index` for an id, the last message of `state`
 * for the same id will be read again, by whatever is deployed by then.
 */
export interface LiveSpec {
  /** In a sentence: `3 orders in review`. */
  readonly what: string;
  readonly index: Contract;
  readonly state: Contract;
}

export interface Topology {
  readonly streams: readonly StreamSpec[];
  /** Default: none. */
  readonly buckets?: readonly BucketSpec[];
  /** What is stored in the streams, each by the owner of its subject's first token. Default: nothing that anybody has to know. */
  readonly contracts?: readonly Contract[];
  readonly consumers: readonly ConsumerSpec[];
  /** Default: none. */
  readonly live?: readonly LiveSpec[];
  /** Default: none. */
  readonly views?: readonly ViewSpec[];
}

/** Bucket of what was replayed, by consumer: `<stream>.<service>`. */
export const REPLAYS = "REPLAYS";

/** Bucket of what an operator has said of restored stores. */
export const RESTORES = "RESTORES";

/** What a consumer of dead letters does, of a service that has no effects of its own. */
const REDRIVEN = "redriven messages";

const streams: readonly StreamSpec[] = [
  { name: "ORDER", prefix: "order", owner: "order", description: "What customers asked for" },
  {
    name: "CHECKOUT",
    prefix: "checkout",
    owner: "coordinator",
    description: "Where each order stands, and the commands to its participants",
    watched: shop.checkoutState,
  },
  {
    name: "INVENTORY",
    prefix: "inventory",
    owner: "inventory",
    description: "Prices, stock and reservations",
  },
  { name: "PAYMENT", prefix: "payment", owner: "payment", description: "Captures and refunds" },
  { name: "FRAUD", prefix: "fraud", owner: "fraud", description: "Screenings and reviews" },
  {
    name: "FULFILLMENT",
    prefix: "fulfillment",
    owner: "fulfillment",
    description: "Shipments and activations",
  },
  { name: "NOTIFICATION", prefix: "notification", owner: "notification", description: "Mails sent" },
  {
    name: "DEAD_LETTER",
    prefix: "dead_letter",
    owner: undefined,
    writers: ["monitor"],
    description: "Messages that could not be handled",
  },
];

const consumers: readonly ConsumerSpec[] = withDeadLetters([
  { service: "order", stream: "INVENTORY", contracts: [shop.itemPriced] },
  { service: "coordinator", stream: "ORDER", contracts: [shop.orderCreated, shop.orderCancelRequested] },
  {
    service: "coordinator",
    stream: "INVENTORY",
    contracts: [shop.stockReserved, shop.stockRejected, shop.stockReleased],
  },
  {
    service: "coordinator",
    stream: "FRAUD",
    contracts: [
      shop.orderCleared,
      shop.orderFlagged,
      shop.reviewApproved,
      shop.reviewRejected,
      shop.reviewExpired,
    ],
  },
  {
    service: "coordinator",
    stream: "PAYMENT",
    contracts: [shop.paymentCaptured, shop.paymentDeclined, shop.paymentRefunded, shop.paymentVoided],
  },
  {
    service: "coordinator",
    stream: "FULFILLMENT",
    contracts: [shop.orderShipped, shop.orderActivated, shop.fulfillmentFailed],
  },
  { service: "coordinator", stream: "CHECKOUT", contracts: [shop.deadlinePassed] },
  {
    service: "inventory",
    stream: "CHECKOUT",
    contracts: [shop.reserveStock, shop.releaseStock, shop.checkoutCompleted],
    // Orders that were completed before it took `completed` are sold as well (ADR 24).
    begins: "first",
  },
  {
    service: "payment",
    stream: "CHECKOUT",
    contracts: [shop.chargePayment, shop.refundPayment],
    effects: "captures and refunds",
  },
  {
    service: "payment",
    stream: "PAYMENT",
    contracts: [shop.paymentWaitingDue],
    effects: "captures and refunds",
    begins: "first",
  },
  { service: "fraud", stream: "CHECKOUT", contracts: [shop.screenOrder, shop.closeReview] },
  { service: "fraud", stream: "FRAUD", contracts: [shop.reviewDue] },
  {
    service: "fulfillment",
    stream: "CHECKOUT",
    contracts: [shop.fulfillOrder],
    effects: "shipments and activations",
  },
  { service: "notification", stream: "ORDER", contracts: [shop.orderCreated], effects: "mails" },
  {
    service: "notification",
    stream: "CHECKOUT",
    contracts: [shop.checkoutCompleted, shop.checkoutCancelled],
    effects: "mails",
  },
  {
    service: "notification",
    stream: "NOTIFICATION",
    contracts: [shop.mailWaitingDue],
    effects: "mails",
    begins: "first",
  },
  {
    service: "analytics",
    stream: "ORDER",
    contracts: [shop.orderCreated, shop.orderCancelRequested],
    projection: true,
  },
  { service: "analytics", stream: "CHECKOUT", contracts: [shop.checkoutState], projection: true },
  {
    service: "analytics",
    stream: "INVENTORY",
    contracts: [shop.item, shop.reservation, shop.stockRejected],
    projection: true,
    unfiltered: true,
  },
  {
    service: "analytics",
    stream: "PAYMENT",
    contracts: [shop.paymentCaptured, shop.paymentDeclined, shop.paymentRefunded, shop.paymentVoided],
    projection: true,
    unfiltered: true,
  },
  {
    service: "analytics",
    stream: "FRAUD",
    contracts: [
      shop.orderCleared,
      shop.orderFlagged,
      shop.reviewApproved,
      shop.reviewRejected,
      shop.reviewExpired,
    ],
    projection: true,
  },
  {
    service: "analytics",
    stream: "FULFILLMENT",
    contracts: [shop.orderShipped, shop.orderActivated, shop.fulfillmentFailed],
    projection: true,
  },
  { service: "analytics", stream: "NOTIFICATION", contracts: [shop.mail], projection: true },
]);

/**
 * Whoever can park a message gets it back when it is redriven. That is an effect of the operator's wish, once for each:
 * a redriven message that was dealt with was handled, or parked again and perhaps discarded since, and a replay of the wish
 * must not overrule that.
 */
export function withDeadLetters(consumers: readonly ConsumerSpec[]): ConsumerSpec[] {
  const services = Map.groupBy(consumers, ({ service }) => service);
  return [
    ...consumers,
    ...[...services].map(([service, own]) => {
      const effects = own.find((spec) => spec.effects !== undefined)?.effects ?? REDRIVEN;
      // Of each service, one of its consumers says what kind they all are.
      const projection = own.some((spec) => spec.projection === true);
      return { service, stream: "DEAD_LETTER", contracts: [], deadLetters: true, effects, projection };
    }),
  ];
}

/**
 * Those whose messages are work: something comes of each that orders wait for, or that customers get. A projection only
 * counts, and writes nothing back. How far it is makes no difference to anybody but who asks it.
 */
export function workingConsumers(consumers: readonly ConsumerSpec[] = topology.consumers): ConsumerSpec[] {
  return consumers.filter(({ projection }) => projection !== true);
}

const views: readonly ViewSpec[] = [
  // Where an order stands is the coordinator's to say, and how far the coordinator is tells which orders it has not seen. One
  // order's whole story is in all streams, and in who has yet to read what. Its own ledger it reads as its owner.
  ...streams.map(({ name, owner, watched }) => ({
    service: "order",
    stream: name,
    messages: owner !== "order",
    watched: watched !== undefined,
    positions: workingConsumers(consumers)
      .filter(({ stream }) => stream === name)
      .map(({ service }) => service),
  })),
  // A registry without schemas has lost them if there are messages.
  ...streams.map(({ name }) => ({ service: "registry", stream: name, info: true })),
  // What is counted is compared with what is there, and counted anew from the first message when a projection is rebuilt.
  ...streams.map(({ name }) => ({ service: "analytics", stream: name, messages: true, info: true })),
  // The monitor compares all ledgers, and sees who has read what.
  ...streams.map(({ name }) => ({
    service: "monitor",
    stream: name,
    messages: true,
    positions: "all" as const,
    info: true,
  })),
];

const buckets: readonly BucketSpec[] = [
  { name: SCHEMAS, owner: "registry", description: "What the messages of all streams look like" },
  { name: REPLAYS, owner: undefined, description: "Up to where each consumer's messages were replayed" },
  {
    name: RESTORES,
    owner: undefined,
    description: "When an operator has accepted a store that was restored",
  },
  { name: "FAULTS", owner: undefined, description: "What is set to go wrong, for demonstrations" },
];

// Timers are the index of what is live (ADR 4).
const live: readonly LiveSpec[] = [
  { what: "orders in review", index: shop.reviewTimer, state: shop.screening },
  { what: "live orders", index: shop.checkoutTimer, state: shop.checkoutState },
];

export const topology: Topology = {
  streams,
  buckets,
  contracts: Object.values(shop),
  consumers,
  live,
  views,
};

/** Every service that owns, consumes or views something. */
export function servicesOf({ streams, buckets = [], consumers, views = [] }: Topology): string[] {
  const owners = [
    ...streams.flatMap(({ owner, writers = [] }) => [...(owner ? [owner] : []), ...writers]),
    ...buckets.flatMap(({ owner }) => owner ?? []),
  ];
  return [...new Set([...owners, ...[...consumers, ...views].map(({ service }) => service)])];
}

/** The consumers of one service, as a processor or a projector takes them. */
export function consumersOf(
  service: string,
): { stream: string; name: string; effects: string | undefined }[] {
  return consumers
    .filter((spec) => spec.service === service)
    .map(({ stream, effects }) => ({ stream, name: service, effects }));
}

/**
 * The stream that a service owns.
 * @throws {RangeError} If it owns none.
 */
export function ledgerOf(service: string): string {
  const stream = streams.find(({ owner }) => owner === service);
  if (stream === undefined)
    throw new RangeError(`Cannot find the ledger of ${service}: the topology has none`);
  return stream.name;
}

/** The stream behind a bucket (ADR-8 of NATS), and the prefix of its subjects. */
export function streamOf({ name }: Pick<BucketSpec, "name">): { name: string; prefix: string } {
  return { name: `KV_${name}`, prefix: `$KV.${name}` };
}

/** What a service stores in its own ledger. */
export function publishedBy(service: string, { streams, contracts = [] }: Topology = topology): Contract[] {
  const prefix = streams.find(({ owner }) => owner === service)?.prefix;
  return contracts.filter(({ subject }) => subject.split(".", 1)[0] === prefix);
}

/** The stream that stores a contract's messages, undefined if the topology has none. */
export function streamHolding(
  { subject }: Contract,
  { streams }: Topology = topology,
): StreamSpec | undefined {
  return streams.find(({ prefix }) => subject.startsWith(`${prefix}.`));
}
