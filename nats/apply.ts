import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { connect, type NatsConnection, nanos } from "@nats-io/transport-node";
import { type Access, accessOptions } from "./access.ts";
import { compare, orMissing, withFilters } from "./compare.ts";
import { DEAD_LETTER_PREFIX } from "./dead_letter.ts";
import {
  type BucketSpec,
  type ConsumerSpec,
  type StreamSpec,
  topology as shop,
  streamOf,
  type Topology,
} from "./topology.ts";

/** With the operator's credential. */
export interface ApplyOptions extends Access {
  /** Default: the shop's. */
  topology?: Topology;
  /** Copies of each stream. Default 1. */
  replicas?: number;
  /** Only say what would change. Default false. */
  dryRun?: boolean;
}

export interface ApplyResult {
  /** One line per difference, in the order in which they were mended. Empty: nothing differed, nothing was touched. */
  changes: string[];
  /** What the server has and the topology does not know. Left alone. */
  undeclared: string[];
}

/** The topology cannot be reached without losing messages or a consumer's position. Nothing was changed. */
export class RefusedError extends Error {
  override name = "RefusedError";
  readonly reasons: readonly string[];

  constructor(reasons: readonly string[]) {
    super(
      `Cannot apply the topology without losing data:\n${reasons.map((reason) => `  ${reason}`).join("\n")}`,
    );
    this.reasons = reasons;
  }
}

/** There is no connection to the server. Nothing was changed. The message has no URL, which may hold a password. */
export class UnreachableError extends Error {
  override name = "UnreachableError";
}

/** Work in progress that a consumer may hold, and with it the largest possible group commit. */
const MAX_ACK_PENDING = 1_000;
/** Of a projection, which reads and asks for what comes next while it stores a batch. */
const MAX_ACK_PENDING_PROJECTION = 5_000;
/** It sets its consumers back itself when it begins. What waits for a slow database is not to be delivered twice meanwhile. */
const ACK_WAIT_PROJECTION_MS = 60_000;
/** How long the messages in a process that was killed wait for another one. Slow work asks for more time while it lasts. */
const ACK_WAIT_MS = 10_000;
/** A person waits. */
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Makes the server's streams and consumers match the topology. Needs the operator's credential; services never get it.
 * All differences are found before the first is mended.
 *
 * @throws {RefusedError} If a change would lose data.
 * @throws {UnreachableError} If no server can be reached.
 */
export async function applyTopology(options: ApplyOptions): Promise<ApplyResult> {
  const connection = await connectOnce(options);
  try {
    const jsm = await jetstreamManager(connection);
    const plan = await makePlan(jsm, options);
    if (plan.refusals.length > 0) throw new RefusedError(plan.refusals);
    if (options.dryRun !== true) for (const step of plan.steps) await step.apply();
    return { changes: plan.steps.map((step) => step.line), undeclared: plan.undeclared };
  } finally {
    await connection.close();
  }
}

async function connectOnce(access: Access): Promise<NatsConnection> {
  try {
    return await connect({ ...accessOptions(access), name: "topology", timeout: CONNECT_TIMEOUT_MS });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UnreachableError(`Cannot apply the topology: no connection to NATS (${why})`, { cause });
  }
}

interface Plan {
  steps: { line: string; apply: () => Promise<unknown> }[];
  refusals: string[];
  undeclared: string[];
}

async function makePlan(jsm: JetStreamManager, options: ApplyOptions): Promise<Plan> {
  const plan: Plan = { steps: [], refusals: [], undeclared: [] };
  const { topology = shop, replicas = 1 } = options;
  const { buckets = [] } = topology;
  for (const spec of topology.streams) await planStream(jsm, plan, spec.prefix, streamConfig(spec, replicas));
  for (const spec of buckets)
    await planStream(jsm, plan, streamOf(spec).prefix, bucketConfig(spec, replicas));
  for (const spec of topology.consumers) await planConsumer(jsm, plan, spec, consumerConfig(spec));
  for await (const { config } of jsm.streams.list()) {
    const declared = [...topology.streams, ...buckets.map(streamOf)];
    if (!declared.some((spec) => spec.name === config.name)) {
      plan.undeclared.push(`stream ${config.name}`);
      continue;
    }
    for await (const { name } of jsm.consumers.list(config.name)) {
      if (topology.consumers.some((spec) => spec.stream === config.name && spec.service === name)) continue;
      plan.undeclared.push(`consumer ${config.name}/${name}`);
    }
  }
  return plan;
}

/** Rule 8 of the ledgers: limits retention and no limit, so that nothing is evicted; schedules forbid `discard: new`. */
export function streamConfig(spec: StreamSpec, replicas: number): Partial<StreamConfig> & { name: string } {
  return {
    name: spec.name,
    description: spec.description,
    subjects: [`${spec.prefix}.>`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    num_replicas: replicas,
    max_age: 0,
    max_msgs: -1,
    max_bytes: -1,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    no_ack: false,
    // Nothing here is known by its `Nats-Msg-Id`. The server reads what was stored within this window again when it starts, to
    // look for them; this is the shortest there is.
    duplicate_window: nanos(100),
    allow_direct: true,
    allow_atomic: true,
    allow_msg_ttl: true,
    // Schedules bring rollups along: with them a writer can wipe the stream, and set a timer for another one's subject.
    // An owner has nobody to harm; where several write, there are none.
    allow_msg_schedules: spec.owner !== undefined,
    allow_rollup_hdrs: spec.owner !== undefined,
    ...(spec.watched && {
      republish: {
        src: `${spec.watched.subject}.*`,
        dest: `watch.${spec.watched.subject}.{{wildcard(1)}}`,
      },
    }),
  };
}

/** The stream behind a bucket: one value a key, and no rollups, with which whoever may write one key could wipe all. */
export function bucketConfig(spec: BucketSpec, replicas: number): Partial<StreamConfig> & { name: string } {
  const { name, prefix } = streamOf(spec);
  const { description, owner } = spec;
  return {
    ...streamConfig({ name, prefix, owner, description }, replicas),
    max_msgs_per_subject: 1,
    allow_msg_schedules: false,
    allow_rollup_hdrs: false,
    allow_msg_ttl: false,
  };
}

export function consumerConfig(spec: ConsumerSpec): Partial<ConsumerConfig> & { durable_name: string } {
  return {
    durable_name: spec.service,
    filter_subjects: filtersOf(spec),
    deliver_policy: DeliverPolicy.All,
    ack_policy: spec.projection === true ? AckPolicy.All : AckPolicy.Explicit,
    ack_wait: nanos(spec.projection === true ? ACK_WAIT_PROJECTION_MS : ACK_WAIT_MS),
    max_ack_pending: spec.projection === true ? MAX_ACK_PENDING_PROJECTION : MAX_ACK_PENDING,
    // Never given up by the server: poison is parked by the application.
    max_deliver: -1,
    // Nor put off for longer than the handler says, nor sent without payload, nor forgotten while its service is away.
    backoff: [],
    headers_only: false,
    inactive_threshold: 0,
  };
}

function filtersOf({ service, contracts, deadLetters, unfiltered }: ConsumerSpec): string[] {
  if (deadLetters === true) return [`${DEAD_LETTER_PREFIX}.${service}.>`];
  const subjects = contracts.map(({ subject }) => subject);
  if (unfiltered !== true) return subjects.map((subject) => `${subject}.>`);
  return [...new Set(subjects.map((subject) => `${subject.split(".", 1)[0]}.>`))];
}

async function planStream(
  jsm: JetStreamManager,
  plan: Plan,
  prefix: string,
  wanted: Partial<StreamConfig> & { name: string },
): Promise<void> {
  const info = await orMissing(jsm.streams.info(wanted.name));
  if (info === undefined) {
    plan.steps.push({
      line: `+ stream ${wanted.name} (${wanted.subjects})`,
      apply: () => jsm.streams.add(wanted),
    });
    return;
  }
  const differences = compare(withUnset(wanted, { republish: undefined }), info.config);
  if (differences.length === 0) return;
  for (const { field, text } of differences) {
    if (
      field === "storage" ||
      field === "retention" ||
      (field === "allow_msg_schedules" && info.config[field])
    ) {
      plan.refusals.push(`stream ${wanted.name}: ${text}: the server would have to make the stream anew`);
    }
  }
  const dropped = info.config.subjects.filter((subject) => !wanted.subjects?.includes(subject));
  for (const subject of dropped) {
    const { state } = await jsm.streams.info(wanted.name, { subjects_filter: subject });
    const stored = Object.entries(state.subjects ?? {})
      .filter(([name]) => !name.startsWith(`${prefix}.`))
      .reduce((sum, [, count]) => sum + count, 0);
    if (stored > 0) {
      plan.refusals.push(
        `stream ${wanted.name}: ${subject} would no longer be stored, and holds ${stored} messages`,
      );
    }
  }
  plan.steps.push({
    line: `~ stream ${wanted.name}: ${differences.map((difference) => difference.text).join(", ")}`,
    apply: () => jsm.streams.update(wanted.name, withUnset(wanted, { republish: undefined })),
  });
}

async function planConsumer(
  jsm: JetStreamManager,
  plan: Plan,
  spec: ConsumerSpec,
  wanted: Partial<ConsumerConfig> & { durable_name: string },
): Promise<void> {
  const name = `${spec.stream}/${spec.service}`;
  const info = await orMissing(jsm.consumers.info(spec.stream, spec.service));
  if (info === undefined) {
    plan.steps.push({
      line: `+ consumer ${name} (${wanted.filter_subjects})`,
      apply: () => jsm.consumers.add(spec.stream, wanted),
    });
    return;
  }
  const actual = withFilters(info.config);
  const differences = compare(wanted, actual);
  if (differences.length === 0) return;
  for (const { field, text } of differences) {
    if (field === "deliver_policy" || field === "ack_policy") {
      plan.refusals.push(`consumer ${name}: ${text}: it would have to be made anew and forget its position`);
    }
  }
  // A filter that is added reaches back no further than the consumer's position: what is older is never delivered. The
  // position is not `delivered`: a consumer that looked for something and found nothing is past all of it.
  for (const subject of wanted.filter_subjects ?? []) {
    if (actual.filter_subjects?.includes(subject)) continue;
    const { state } = await jsm.streams.info(spec.stream, { subjects_filter: subject });
    const stored = Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
    if (stored > 0) {
      plan.refusals.push(
        `consumer ${name}: ${subject} already holds ${stored} messages that it might never get; ` +
          `delete the consumer, and it starts over with all of them`,
      );
    }
  }
  plan.steps.push({
    line: `~ consumer ${name}: ${differences.map((difference) => difference.text).join(", ")}`,
    apply: () =>
      jsm.consumers.update(spec.stream, spec.service, withUnset(wanted, { filter_subject: undefined })),
  });
}

/** `wanted`, and what is to be unset where it does not say otherwise: an update keeps what it does not name. */
function withUnset<T extends object>(wanted: T, unset: { readonly [K in string]: undefined }): T {
  return { ...unset, ...wanted };
}
