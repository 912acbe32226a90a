import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ConsumerInfo, JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { SchemaSubject } from "../gen/shop/registry/v1/schema_subject_pb.ts";
import {
  type Contract,
  SCHEMAS_STREAM,
  schemaIdOf,
  topology as shop,
  streamHolding,
  subjectKey,
  type Topology,
  viewMany,
  viewStored,
} from "../nats/mod.ts";
import {
  type ConsumerDifference,
  differenceOf,
  type FoundConsumer,
  findConsumers,
  takes,
} from "./catalog_consumers.ts";
import { type Meaning, meaningOf } from "./meanings.ts";

/** A service, or something else, that takes an event by a consumer. */
export interface EventConsumer {
  /** Name of the consumer, which is the service's. */
  readonly service: string;
  /** Messages of this event that it has not acknowledged; undefined if it is missing. */
  readonly lag: number | undefined;
  /** Messages that it has not acknowledged of all events that it takes from the stream. */
  readonly consumerLag: number | undefined;
  /** Whether the topology says that it takes the event. */
  readonly declared: boolean;
  /** The topology says so, and the server has no such consumer, or one that does not take the event. */
  readonly missing: boolean;
}

/** What there is to know of one event, command or state: a contract of the topology. */
export interface CatalogEntry extends Meaning {
  readonly contract: Contract;
  readonly stream: string;
  /** The owner of the stream. */
  readonly producer: string | undefined;
  /** What the registry has last for the subject; undefined if nothing. */
  readonly schema: { readonly id: number; readonly version: number } | undefined;
  /** Versions that messages name, of those that were looked at (see {@linkcode readCatalog}). */
  readonly versionsSeen: readonly number[];
  /** Ids that such messages name and that are of no version of the subject; 0 stands for none that can be told. */
  readonly otherSchemas: readonly number[];
  readonly consumers: readonly EventConsumer[];
  /** Services that read it by Direct Get. */
  readonly views: readonly string[];
  /** The last message that is stored, if any. */
  readonly lastSeen: { readonly seq: number; readonly time: Date } | undefined;
}

export interface Catalog {
  readonly entries: readonly CatalogEntry[];
  readonly differences: readonly ConsumerDifference[];
}

/** Messages that are looked at from where a version was registered: instances of the version before may go on among them. */
const PROBED = 100;

/**
 * Who stores what, what it looks like and who takes it: from the topology, the registry's data and the servers' consumers.
 *
 * Costs by the number of contracts and not by what is stored. Of each contract's messages the first that is retained, the
 * last, and up to {@linkcode PROBED} from where each version was registered are looked at for the schema that they name: a
 * version that only others name is not seen.
 *
 * @param options.contracts Which. Default: all of the topology.
 */
export async function readCatalog(
  jsm: JetStreamManager,
  options: { topology?: Topology; contracts?: readonly Contract[] } = {},
): Promise<Catalog> {
  const { topology = shop } = options;
  const { contracts = contractsOf(topology) } = options;
  const consumers = await findConsumers(jsm, topology);
  const there = new Set<string>();
  for await (const name of jsm.streams.names()) there.add(name);
  const docs = there.has(SCHEMAS_STREAM)
    ? await viewMany(
        jsm,
        SCHEMAS_STREAM,
        contracts.map(({ subject }) => subjectKey(subject)),
      )
    : [];
  const entries = await Promise.all(
    contracts.map(async (contract, index): Promise<CatalogEntry | undefined> => {
      const spec = streamHolding(contract, topology);
      if (spec === undefined) return undefined;
      const { name: stream, owner: producer } = spec;
      const doc = docs[index];
      const latest = doc?.versions.findLast(({ deleted }) => !deleted);
      const last = there.has(stream) ? await lastOf(jsm, stream, contract) : undefined;
      const ids = last === undefined ? [] : await schemaIdsOf(jsm, stream, { contract, doc, last });
      const versions = (doc?.versions ?? []).filter(({ id }) => ids.includes(id));
      return {
        ...(await meaningOf(contract)),
        contract,
        stream,
        producer,
        schema: latest && { id: latest.id, version: latest.version },
        versionsSeen: versions.map(({ version }) => version),
        otherSchemas: ids.filter((id) => !versions.some((version) => version.id === id)),
        consumers: await consumersOf(jsm, contract, {
          topology,
          last,
          consumers: consumers.filter((it) => it.stream === stream),
        }),
        views: (topology.views ?? [])
          .filter((view) => view.stream === stream && view.messages)
          .map(({ service }) => service),
        lastSeen: last && { seq: last.seq, time: last.time },
      };
    }),
  );
  const streams = new Set(contracts.map((contract) => streamHolding(contract, topology)?.name));
  const differences = consumers
    .filter(({ stream }) => options.contracts === undefined || streams.has(stream))
    .flatMap((consumer) => differenceOf(consumer) ?? []);
  return { entries: entries.filter((entry) => entry !== undefined), differences };
}

/** The contracts of a topology, by stream and subject. */
export function contractsOf({ streams, contracts = [] }: Topology): Contract[] {
  return streams.flatMap(({ prefix }) =>
    contracts
      .filter(({ subject }) => subject.startsWith(`${prefix}.`))
      .sort((a, b) => (a.subject < b.subject ? -1 : 1)),
  );
}

async function lastOf(
  jsm: JetStreamManager,
  stream: string,
  { subject }: Contract,
): Promise<StoredMsg | undefined> {
  return (await jsm.streams.getMessage(stream, { last_by_subj: `${subject}.>` })) ?? undefined;
}

/** Ids of the schemas that messages name, 0 for none, in order. */
async function schemaIdsOf(
  jsm: JetStreamManager,
  stream: string,
  { contract, doc, last }: { contract: Contract; doc: SchemaSubject | undefined; last: StoredMsg },
): Promise<number[]> {
  const subject = `${contract.subject}.>`;
  const first = await viewStored(jsm, stream, { subject, limit: 1 });
  const found = new Set([...first, last].map((stored) => schemaIdOf(stored) ?? 0));
  for (const { id, registeredAt } of doc?.versions ?? []) {
    if (found.has(id) || registeredAt === undefined) continue;
    const since = timestampDate(registeredAt);
    for (const stored of await viewStored(jsm, stream, { subject, since, limit: PROBED })) {
      found.add(schemaIdOf(stored) ?? 0);
    }
  }
  return [...found].sort((a, b) => a - b);
}

async function consumersOf(
  jsm: JetStreamManager,
  contract: Contract,
  options: { topology: Topology; consumers: readonly FoundConsumer[]; last: StoredMsg | undefined },
): Promise<EventConsumer[]> {
  const { topology, last } = options;
  const found = options.consumers.map(async (consumer): Promise<EventConsumer | undefined> => {
    const { name: service, spec, info } = consumer;
    const declared = spec?.contracts.includes(contract) ?? false;
    if (!takes(consumer, contract, topology)) {
      return declared
        ? { service, lag: undefined, consumerLag: undefined, declared, missing: true }
        : undefined;
    }
    if (info === undefined) return undefined;
    const lag = await lagOf(jsm, consumer, { contract, info, last });
    return { service, lag, consumerLag: unacknowledged(info), declared, missing: false };
  });
  return (await Promise.all(found)).filter((consumer) => consumer !== undefined);
}

function unacknowledged({ num_pending, num_ack_pending }: ConsumerInfo): number {
  return num_pending + num_ack_pending;
}

/**
 * The server counts what a consumer has not acknowledged of all its subjects together. Of one, the messages are counted
 * that are stored behind the last that it has acknowledged all before: as many, or, while it acknowledges out of turn, a
 * few more; never more than of all together.
 */
async function lagOf(
  jsm: JetStreamManager,
  { stream, filters }: FoundConsumer,
  { contract, info, last }: { contract: Contract; info: ConsumerInfo; last: StoredMsg | undefined },
): Promise<number> {
  const all = unacknowledged(info);
  const floor = info.ack_floor.stream_seq;
  if (all === 0 || last === undefined || last.seq <= floor) return 0;
  const subject = `${contract.subject}.>`;
  if (filters.length === 1 && filters[0] === subject) return all;
  const [next] = await viewStored(jsm, stream, { subject, from: floor + 1, limit: 1 });
  // `pending` is how many of the subject come after it.
  return next === undefined ? 0 : Math.min(all, 1 + next.pending);
}
