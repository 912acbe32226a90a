import type { JetStreamManager } from "@nats-io/jetstream";
import { withFilters } from "../compare.ts";
import type { Contract } from "../contracts/contract.ts";
import { topology as shop, streamHolding, type Topology } from "../topology.ts";

/** A durable consumer, as a server has it. */
export interface ServerConsumer {
  readonly stream: string;
  readonly name: string;
  /** Subjects that it takes; empty: all of the stream. */
  readonly filters: readonly string[];
}

/** Every consumer of a stream that there is, whether the topology knows of it or not. */
export async function consumersOnServer(jsm: JetStreamManager, stream: string): Promise<ServerConsumer[]> {
  const found: ServerConsumer[] = [];
  for await (const info of jsm.consumers.list(stream)) {
    found.push({ stream, name: info.name, filters: withFilters(info.config).filter_subjects ?? [] });
  }
  return found;
}

/**
 * Who reads the messages of a contract, by name: the consumers and views of the topology, and whatever else takes it from
 * the server, which is marked.
 */
export function readersOf(
  contract: Contract,
  { topology = shop, onServer = [] }: { topology?: Topology; onServer?: readonly ServerConsumer[] } = {},
): string[] {
  const stream = streamHolding(contract, topology)?.name;
  const consumers = topology.consumers.filter(({ contracts }) => contracts.includes(contract));
  const views = (topology.views ?? []).filter((view) => view.stream === stream && view.messages === true);
  const declared = new Set([...consumers, ...views].map(({ service }) => service));
  // One that is declared is told apart by its contracts, whatever it is delivered besides.
  const isDeclared = (name: string) =>
    topology.consumers.some((spec) => spec.stream === stream && spec.service === name);
  const others = onServer
    .filter((consumer) => consumer.stream === stream && takes(consumer, contract))
    .filter(({ name }) => !declared.has(name) && !isDeclared(name))
    .map(({ name }) => `${name} (not in the topology)`);
  return [...declared, ...others];
}

/** Whether a consumer gets messages of a contract: `order.created.*`, `order.>` and no filter at all do of `order.created`. */
function takes({ filters }: ServerConsumer, { subject }: Contract): boolean {
  const tokens = [...subject.split("."), "id"];
  return filters.length === 0 || filters.some((filter) => overlaps(filter.split("."), tokens));
}

function overlaps(filter: readonly string[], subject: readonly string[]): boolean {
  for (const [index, token] of filter.entries()) {
    if (token === ">") return true;
    const other = subject[index];
    // Ids may have several tokens.
    if (other === undefined) return true;
    if (token !== "*" && token !== other && index < subject.length - 1) return false;
  }
  return filter.length >= subject.length;
}
