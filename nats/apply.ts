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
  type StreamInfo,
} from "@nats-io/jetstream";
import { connect, type NatsConnection, nanos } from "@nats-io/transport-node";
import { type Access, accessOptions } from "./access.ts";
import { compare, orMissing, withFilters } from "./compare.ts";
import { beginOf, beginsNow, marksOf, missingMarks, startsOverFor, stored } from "./consumer_begin.ts";
import { counted } from "./counted.ts";
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
    const plan = await makePlan({ connection, jsm }, options);
    if (plan.refusals.length > 0) throw new RefusedError(plan.refusals);
    if (options.dryRun !== true) for (const step of plan.steps) await step.apply();
    return { changes: plan.steps.flatMap((step) => step.line ?? []), undeclared: plan.undeclared };
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
  /** Without a line: it belongs to the step before. */
  steps: { line?: string; apply: () => Promise<unknown> }[];
  refusals: string[];
  undeclared: string[];
}

/** The server, and what is there of it. */
interface Server {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
}

async function makePlan(server: Server, options: ApplyOptions): Promise<Plan> {
  const { jsm } = server;
  const plan: Plan = { steps: [], refusals: [], undeclared: [] };
  const { topology = shop, replicas = 1 } = options;
  const { buckets = [] } = topology;
  const streams = new Map<string, StreamInfo | undefined>();
  for (const spec of topology.streams) {
    const metadata = marksOf(spec.name, topology, filtersOf);
    const wanted = streamConfig(spec, replicas);
    streams.set(spec.name, await planStream(jsm, plan, { prefix: spec.prefix, wanted, metadata }));
  }
  for (const spec of buckets)
    await planStream(jsm, plan, { prefix: streamOf(spec).prefix, wanted: bucketConfig(spec, replicas) });
  const present: PresentConsumer[] = [];
  for (const spec of topology.consumers) {
    const { stream: name } = spec;
    const stream = streams.has(name) ? streams.get(name) : await orMissing(jsm.streams.info(name));
    if (stream === undefined) planNewConsumer(jsm, plan, spec);
    else present.push(...(await planConsumer(server, plan, { spec, stream })));
  }
  for (const info of streams.values())
    if (info !== undefined) planMarks(jsm, plan, { info, topology, present });
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

/** @returns The stream as it is, undefined if it has to be made. */
async function planStream(
  jsm: JetStreamManager,
  plan: Plan,
  {
    prefix,
    wanted,
    metadata,
  }: {
    prefix: string;
    wanted: Partial<StreamConfig> & { name: string };
    /** Of a stream that is made. */
    metadata?: Record<string, string>;
  },
): Promise<StreamInfo | undefined> {
  const info = await orMissing(jsm.streams.info(wanted.name));
  if (info === undefined) {
    plan.steps.push({
      line: `+ stream ${wanted.name} (${wanted.subjects})`,
      apply: () => jsm.streams.add({ ...wanted, ...(metadata && { metadata }) }),
    });
    return undefined;
  }
  const differences = compare(withUnset(wanted, { republish: undefined }), info.config);
  if (differences.length === 0) return info;
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
    const held = Object.entries(state.subjects ?? {})
      .filter(([name]) => !name.startsWith(`${prefix}.`))
      .reduce((sum, [, count]) => sum + count, 0);
    if (held > 0) {
      plan.refusals.push(
        `stream ${wanted.name}: ${subject} would no longer be stored, and holds ${counted(held, "message")}`,
      );
    }
  }
  plan.steps.push({
    line: `~ stream ${wanted.name}: ${differences.map((difference) => difference.text).join(", ")}`,
    apply: () => jsm.streams.update(wanted.name, withUnset(wanted, { republish: undefined })),
  });
  return info;
}

/** A consumer that is there once the plan is carried out. */
interface PresentConsumer {
  readonly spec: ConsumerSpec;
  readonly filters: readonly string[];
  /** Whether a step of the plan says so. */
  readonly told: boolean;
}

/** Notes which consumers there are, in a stream that an older version made or whose consumers are others than before. */
function planMarks(
  jsm: JetStreamManager,
  plan: Plan,
  { info, topology, present }: { info: StreamInfo; topology: Topology; present: readonly PresentConsumer[] },
): void {
  const { name } = info.config;
  const own = present.filter(({ spec }) => spec.stream === name);
  const marks = missingMarks(info, topology, own);
  if (marks === undefined) return;
  const known = missingMarks(
    info,
    topology,
    own.filter(({ told }) => !told),
  );
  plan.steps.push({
    ...(known !== undefined && { line: `~ stream ${name}: notes which of its consumers have been there` }),
    apply: async () => {
      const { config } = await jsm.streams.info(name);
      return jsm.streams.update(name, { metadata: { ...config.metadata, ...marks } });
    },
  });
}

/** Of a stream that the plan makes, which holds nothing. */
function planNewConsumer(jsm: JetStreamManager, plan: Plan, spec: ConsumerSpec): void {
  const wanted = consumerConfig(spec);
  plan.steps.push({
    line: `+ consumer ${spec.stream}/${spec.service} (${wanted.filter_subjects})`,
    apply: () => jsm.consumers.add(spec.stream, wanted),
  });
}

async function planConsumer(
  server: Server,
  plan: Plan,
  { spec, stream }: { spec: ConsumerSpec; stream: StreamInfo },
): Promise<PresentConsumer[]> {
  const { jsm } = server;
  const wanted = consumerConfig(spec);
  const { filter_subjects: filters = [] } = wanted;
  const name = `${spec.stream}/${spec.service}`;
  const info = await orMissing(jsm.consumers.info(spec.stream, spec.service));
  if (info === undefined) {
    const begin = await beginOf(server, spec, { stream, filters });
    if (begin.kind === "refused") {
      plan.refusals.push(begin.reason);
      return [];
    }
    plan.steps.push({
      line: `+ consumer ${name} (${filters})${begin.text === "" ? "" : `: ${begin.text}`}`,
      apply: () => jsm.consumers.add(spec.stream, { ...wanted, ...begin.config }),
    });
    return [{ spec, filters, told: true }];
  }
  const actual = withFilters(info.config);
  const differences = compare(wanted, actual);
  if (differences.length === 0) return [{ spec, filters, told: false }];
  for (const { field, text } of differences) {
    if (field === "deliver_policy" || field === "ack_policy") {
      plan.refusals.push(`consumer ${name}: ${text}: it would have to be made anew and forget its position`);
    }
  }
  const texts = differences.map((difference) => difference.text);
  let startsOver = false;
  // A filter that is added reaches back no further than the consumer's position: what is older is never delivered. The
  // position is not `delivered`: a consumer that looked for something and found nothing is past all of it.
  for (const subject of filters) {
    if (actual.filter_subjects?.includes(subject)) continue;
    const count = await stored(server, stream, subject);
    if (count === 0) continue;
    if (beginsNow(spec)) {
      texts.push(
        `of ${subject} it gets what comes after its position, not the ${counted(count, "message")} before`,
      );
      continue;
    }
    if (startsOverFor(spec)) {
      startsOver = true;
      texts.push(`starts over, for ${counted(count, "stored message")} of ${subject}`);
      continue;
    }
    plan.refusals.push(
      `consumer ${name}: ${subject} already holds ${counted(count, "message")} that it might never get; ` +
        `delete the consumer, and it starts over with all of them`,
    );
  }
  const { deliver_policy: _, ...changeable } = wanted;
  plan.steps.push({
    line: `~ consumer ${name}: ${texts.join(", ")}`,
    apply: async () => {
      const { stream, service } = spec;
      if (startsOver) {
        // A run that is killed in between leaves one that is missing, which the next run makes as this one would.
        await jsm.consumers.delete(stream, service);
        return jsm.consumers.add(stream, wanted);
      }
      return jsm.consumers.update(stream, service, withUnset(changeable, { filter_subject: undefined }));
    },
  });
  return [{ spec, filters, told: true }];
}

/** `wanted`, and what is to be unset where it does not say otherwise: an update keeps what it does not name. */
function withUnset<T extends object>(wanted: T, unset: { readonly [K in string]: undefined }): T {
  return { ...unset, ...wanted };
}
