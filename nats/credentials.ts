import { registrationKeys } from "./registry/keys.ts";
import { publishedBy, type StreamSpec, topology as shop, streamOf, type Topology } from "./topology.ts";

/** Subjects that a credential may publish to and subscribe to. All others are refused. */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** The person or program that applies the topology, mends and looks at everything. Not a service. */
export const OPERATOR = "operator";

/** Where the answers to a service go. Each has its own, so that nobody reads what another one is answered. */
export function inboxOf(service: string): string {
  return `_INBOX_${service}`;
}

/**
 * What a service may do, and nothing else: write its own ledger and read it, take from its own consumers, park dead
 * letters of its own, register the schemas of its own messages, and see buckets and what the topology's views say. Nobody but the operator makes, changes, purges or deletes
 * streams and consumers.
 */
export function permissionsOf(service: string, topology: Topology = shop): Permissions {
  const publish: string[] = [];
  const subscribe = [`${inboxOf(service)}.>`];
  for (const { name, prefix, owner, writers = [] } of topology.streams) {
    if (owner === undefined) publish.push(`${prefix}.${writers.includes(service) ? "" : `${service}.`}>`);
    if (owner !== service) continue;
    publish.push(`${prefix}.>`, `$JS.API.STREAM.INFO.${name}`, `$JS.API.STREAM.MSG.GET.${name}`);
    // Who reads it, declared or not: a change of a schema is their business.
    publish.push(`$JS.API.CONSUMER.LIST.${name}`, ...directGet(name));
  }
  for (const bucket of topology.buckets ?? []) {
    const { name, prefix } = streamOf(bucket);
    publish.push(`$JS.API.STREAM.MSG.GET.${name}`, ...directGet(name));
    if (bucket.owner === service) publish.push(`${prefix}.>`, `$JS.API.STREAM.INFO.${name}`);
  }
  // Settings are none of them: who may register may not also say what is compatible.
  const published = publishedBy(service, topology);
  if (published.length > 0) publish.push(...registrationKeys(published));
  for (const consumer of topology.consumers) {
    if (consumer.service !== service) continue;
    const name = `${consumer.stream}.${service}`;
    publish.push(`$JS.API.CONSUMER.INFO.${name}`, `$JS.API.CONSUMER.MSG.NEXT.${name}`, `$JS.ACK.${name}.>`);
    // It follows a position that the service keeps.
    if (consumer.projection === true) publish.push(`$JS.API.CONSUMER.RESET.${name}`);
  }
  for (const view of topology.views ?? []) {
    if (view.service !== service) continue;
    if (view.info === true) publish.push(`$JS.API.STREAM.INFO.${view.stream}`);
    if (view.messages === true) publish.push(...directGet(view.stream));
    if (view.positions === "all") publish.push(`$JS.API.CONSUMER.INFO.${view.stream}.*`);
    else
      publish.push(...(view.positions ?? []).map((name) => `$JS.API.CONSUMER.INFO.${view.stream}.${name}`));
    if (view.watched === true) subscribe.push(watchSubject(topology.streams, view.stream));
  }
  return { publish: [...new Set(publish)], subscribe: [...new Set(subscribe)] };
}

function directGet(stream: string): string[] {
  return [`$JS.API.DIRECT.GET.${stream}`, `$JS.API.DIRECT.GET.${stream}.>`];
}

function watchSubject(streams: readonly StreamSpec[], name: string): string {
  const watched = streams.find((stream) => stream.name === name)?.watched;
  if (watched === undefined) throw new RangeError(`Cannot let anybody watch ${name}: it is not watched`);
  return `watch.${watched.subject}.*`;
}

/**
 * The `authorization` block of the server's configuration: one user for each public key, each service with its
 * permissions and the operator without limits. There is no user without a key, so that the server refuses whoever
 * has none. It holds no secret.
 *
 * @param publicKeys By service, and the operator's.
 */
export function authorizationBlock(
  publicKeys: Readonly<Record<string, string>>,
  topology: Topology = shop,
): string {
  const users = Object.entries(publicKeys).map(([name, nkey]) => {
    if (name === OPERATOR) return `    # ${name}\n    { nkey: ${nkey} }`;
    const { publish, subscribe } = permissionsOf(name, topology);
    return `    # ${name}
    { nkey: ${nkey}, permissions: {
      publish: { allow: ${JSON.stringify(publish)} }
      subscribe: { allow: ${JSON.stringify(subscribe)} }
    } }`;
  });
  return `# Made from nats/topology.ts; changes here are lost.
authorization {
  users = [
${users.join("\n")}
  ]
}
`;
}
