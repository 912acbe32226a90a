import type { ConsumerInfo, JetStreamManager } from "@nats-io/jetstream";
import {
  type ConsumerSpec,
  consumerConfig,
  orMissing,
  readersOf,
  type Topology,
  withFilters,
} from "../nats/mod.ts";

/** A consumer that is in the topology, or on the server, or both. */
export interface FoundConsumer {
  readonly stream: string;
  /** Of the consumer, which is the service's. */
  readonly name: string;
  readonly spec: ConsumerSpec | undefined;
  readonly info: ConsumerInfo | undefined;
  /** What the server's takes; empty: all of the stream. */
  readonly filters: readonly string[];
}

/** A consumer whose being there, or whose filter, is not what the topology says. */
export interface ConsumerDifference {
  readonly stream: string;
  readonly consumer: string;
  readonly kind: "undeclared" | "missing" | "filter";
  /** All of it in a sentence. */
  readonly text: string;
}

/** Every consumer of the topology's streams. Of buckets it says nothing: every service may read those. */
export async function findConsumers(
  jsm: JetStreamManager,
  { streams, consumers }: Topology,
): Promise<FoundConsumer[]> {
  const found = await Promise.all(
    streams.map(async ({ name: stream }): Promise<FoundConsumer[]> => {
      const infos = await orMissing(consumersOf(jsm, stream));
      const specs = consumers.filter((spec) => spec.stream === stream);
      const others = (infos ?? []).filter(({ name }) => !specs.some(({ service }) => service === name));
      const declared = specs.map(async (spec): Promise<FoundConsumer> => {
        const { service: name } = spec;
        // A list leaves out whose leader does not answer. That one is asked for by its name: it is there, or not.
        const info =
          infos?.find((info) => info.name === name) ?? (await orMissing(jsm.consumers.info(stream, name)));
        return {
          stream,
          name,
          spec,
          info,
          filters: info ? (withFilters(info.config).filter_subjects ?? []) : [],
        };
      });
      return [
        ...(await Promise.all(declared)),
        ...others.map((info) => ({
          stream,
          name: info.name,
          spec: undefined,
          info,
          filters: withFilters(info.config).filter_subjects ?? [],
        })),
      ];
    }),
  );
  return found.flat();
}

async function consumersOf(jsm: JetStreamManager, stream: string): Promise<ConsumerInfo[]> {
  const infos: ConsumerInfo[] = [];
  for await (const info of jsm.consumers.list(stream)) infos.push(info);
  return infos;
}

/** Undefined if it is as the topology says. */
export function differenceOf({
  stream,
  name: consumer,
  spec,
  info,
  filters,
}: FoundConsumer): ConsumerDifference | undefined {
  const what = `consumer ${stream}/${consumer}`;
  const difference = (kind: ConsumerDifference["kind"], text: string) => ({ stream, consumer, kind, text });
  if (spec === undefined) {
    return difference("undeclared", `${what} is not in the topology; it takes ${listOf(filters)}`);
  }
  const wanted = consumerConfig(spec).filter_subjects ?? [];
  if (info === undefined) {
    return difference("missing", `${what} is not on the server; it should take ${listOf(wanted)}`);
  }
  if (new Set(wanted).symmetricDifference(new Set(filters)).size === 0) return undefined;
  return difference("filter", `${what} takes ${listOf(filters)} and should take ${listOf(wanted)}`);
}

function listOf(filters: readonly string[]): string {
  return filters.length === 0 ? "everything" : [...filters].sort().join(", ");
}

/** Whether the server's consumer gets messages of the contract, and does not skip them. */
export function takes(
  { stream, name, spec, info, filters }: FoundConsumer,
  contract: Parameters<typeof readersOf>[0],
  { streams }: Topology,
): boolean {
  if (info === undefined) return false;
  if (spec?.unfiltered === true) return spec.contracts.includes(contract);
  return (
    readersOf(contract, { topology: { streams, consumers: [] }, onServer: [{ stream, name, filters }] })
      .length > 0
  );
}
