import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { bucketConfig, consumerConfig, streamConfig } from "./apply.ts";
import { compare, orMissing, withFilters } from "./compare.ts";
import type { Log } from "./connection.ts";
import { getJson } from "./get_json.ts";
import { monitorUrlsOf } from "./monitor_urls.ts";
import { backoffMs, pause } from "./pause.ts";
import { topology as shop, type Topology } from "./topology.ts";

/** Something about the servers that is not as the topology asks. */
export interface Finding {
  /** `missing`: the service cannot work without it. `weaker`: it works, and promises less. `unseen`: it cannot tell. */
  readonly kind: "missing" | "weaker" | "unseen";
  /** `stream ORDER num_replicas`, for example. */
  readonly what: string;
  readonly wanted: string;
  readonly is: string;
}

export interface StartCheckOptions {
  service: string;
  /** Copies of each stream that there should be. Default 1. */
  replicas?: number;
  /** Comma-separated base URLs of the servers' monitoring. Default: none, and their sync setting is not checked. */
  monitorUrl?: string | undefined;
  /** Whether the consumers of all services are compared, whose settings the service has a view of. Default: its own. */
  everyConsumer?: boolean;
  /** Default: the shop's. */
  topology?: Topology;
}

/** Atomic batches with schedules in them, and R3 syncing once per Raft append, are all there from here on. */
export const MIN_SERVER_VERSION = "2.15.0";
/** How long a server's monitoring may take to answer. */
const MONITOR_TIMEOUT_MS = 3_000;

/**
 * Compares what the service's credential can see of the servers with what the topology asks: version, streams (its
 * own, and those that it has a view of the settings of), consumers (its own, or all), and whether acknowledged means synced.
 *
 * @throws {Error} If the server does not answer, or does not let the service see what it needs.
 */
export async function checkServers(
  connection: NatsConnection,
  jsm: JetStreamManager,
  options: StartCheckOptions,
): Promise<Finding[]> {
  const { service, replicas = 1, monitorUrl, everyConsumer = false, topology = shop } = options;
  const findings: Finding[] = [];
  const version = connection.info?.version ?? "unknown";
  if (!isAtLeast(version, MIN_SERVER_VERSION)) {
    findings.push({
      kind: "weaker",
      what: "server version",
      wanted: `>= ${MIN_SERVER_VERSION}`,
      is: version,
    });
  }
  const viewed = (topology.views ?? []).filter((view) => view.service === service && view.info === true);
  const seen = topology.streams.filter(({ name, owner }) => {
    return owner === service || viewed.some(({ stream }) => stream === name);
  });
  const owned = (topology.buckets ?? []).filter(({ owner }) => owner === service);
  const configs = [
    ...seen.map((spec) => (copies: number) => streamConfig(spec, copies)),
    ...owned.map((spec) => (copies: number) => bucketConfig(spec, copies)),
  ];
  for (const configOf of configs) {
    const { name } = configOf(replicas);
    const info = await orMissing(jsm.streams.info(name));
    if (info === undefined) {
      findings.push(missing(`stream ${name}`));
      continue;
    }
    // More copies than asked for are no weakness, and no promise rests on a description.
    const copies = Math.max(replicas, info.config.num_replicas);
    const { description: _, ...wanted } = configOf(copies);
    findings.push(...differing(`stream ${name}`, wanted, info.config));
  }
  for (const spec of topology.consumers) {
    if (spec.service !== service && !everyConsumer) continue;
    const name = `consumer ${spec.stream}/${spec.service}`;
    const info = await orMissing(jsm.consumers.info(spec.stream, spec.service));
    if (info === undefined) {
      findings.push(missing(name));
      continue;
    }
    findings.push(...differing(name, consumerConfig(spec), withFilters(info.config)));
    // A replay pauses its consumer for seconds; one that stays so is told nothing.
    if (info.paused === true) {
      const is = `until ${info.config.pause_until}`;
      findings.push({ kind: "weaker", what: `${name} pause`, wanted: "unset", is });
    }
  }
  findings.push(...(await Promise.all(monitorUrlsOf(monitorUrl).map(checkSync))).flat());
  return findings;
}

/**
 * Checks until nothing is missing, and then resolves. Every difference is a warning with what is wanted and what is; what
 * is missing, an error that is repeated, with growing pauses, until somebody has applied the topology.
 */
export async function startCheck(
  connection: NatsConnection,
  jsm: JetStreamManager,
  options: StartCheckOptions & {
    log: Log;
    signal: AbortSignal;
    /** Told what each check has found, for metrics. */
    onFindings?: (findings: readonly Finding[]) => void;
  },
): Promise<void> {
  const { log, signal, onFindings } = options;
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      const findings = await checkServers(connection, jsm, options);
      onFindings?.(findings);
      const lacking = findings.filter(({ kind }) => kind === "missing");
      for (const finding of lacking) log.error({ what: finding.what }, findingText(finding));
      if (lacking.length === 0) {
        for (const finding of findings) log.warn({ ...finding }, findingText(finding));
        return;
      }
    } catch (cause) {
      if (!signal.aborted) log.error({ err: cause }, "cannot check what the servers have, trying again");
    }
    await pause(backoffMs(attempt + 3), signal);
  }
}

/** A finding as a log line says it. */
export function findingText({ kind, what, wanted, is }: Finding): string {
  if (kind === "missing") return `${what} is missing: apply the topology`;
  if (kind === "unseen") return `cannot see ${what}, which should be ${wanted}: ${is}`;
  return `weaker than the topology asks: ${what} should be ${wanted} and is ${is}`;
}

function missing(what: string): Finding {
  return { kind: "missing", what, wanted: "there", is: "missing" };
}

function differing(name: string, wanted: object, actual: object): Finding[] {
  return compare(wanted, actual).map((difference) => ({
    kind: "weaker",
    what: `${name} ${difference.field}`,
    wanted: difference.wanted,
    is: difference.is,
  }));
}

/** A client cannot ask for it: the setting is not the stream's but the server's, and only its monitoring tells. */
async function checkSync(url: string): Promise<Finding[]> {
  const what = `sync_interval of ${url}`;
  try {
    const { config } = (await getJson(`${url}/jsz`, { timeoutMs: MONITOR_TIMEOUT_MS })) as {
      config?: { sync_always?: boolean; sync_interval?: number };
    };
    if (config?.sync_always === true) return [];
    const seconds = (config?.sync_interval ?? 0) / 1e9;
    return [{ kind: "weaker", what, wanted: "always", is: `every ${seconds} s` }];
  } catch (cause) {
    return [{ kind: "unseen", what, wanted: "always", is: String(cause) }];
  }
}

function isAtLeast(version: string, wanted: string): boolean {
  const [is, least] = [version, wanted].map((text) => text.split(/[.-]/, 3).map(Number));
  const index = least?.findIndex((part, i) => is?.[i] !== part) ?? -1;
  return index === -1 || Number(is?.[index]) > Number(least?.[index]);
}
