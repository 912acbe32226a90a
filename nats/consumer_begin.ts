import {
  type ConsumerConfig,
  DeliverPolicy,
  type JetStreamManager,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { counted } from "./counted.ts";
import { countFrom } from "./pages.ts";
import type { ConsumerSpec, Topology } from "./topology.ts";

// Where a consumer that is made begins, and what tells one that is new from one that was lost (ADR 26).

/** In a stream's metadata: it has been marked, so that what has no mark was never there. */
const MARKED = "topology.marked";
/** In a stream's metadata, by service: the filters of a consumer that has been there. */
const MARK = "topology.consumer.";
/** In a consumer's metadata: the sequence at which it was made to begin. */
const BEGINS = "topology.begins";

/** Whether a new consumer begins with what is stored from then on, and leaves out what is stored before. */
export function beginsNow({ begins, effects, projection }: ConsumerSpec): boolean {
  return begins === undefined ? effects !== undefined && projection !== true : begins === "now";
}

/** Whether a consumer that is to take another subject starts over for what is stored of it. What it is delivered again changes nothing. */
export function startsOverFor({ begins, effects }: ConsumerSpec): boolean {
  return begins === "first" && effects === undefined;
}

/** Only of these it matters whether they have been there: the others are to get everything in any case. */
function isMarked(spec: ConsumerSpec): boolean {
  return spec.effects !== undefined && spec.projection !== true;
}

/** The metadata of a stream that is made: none of its consumers can have missed anything. */
export function marksOf(stream: string, { consumers }: Topology, filters: (spec: ConsumerSpec) => string[]) {
  const own = consumers.filter((spec) => spec.stream === stream && isMarked(spec));
  const marks = own.map((spec) => [`${MARK}${spec.service}`, filters(spec).join(",")]);
  return Object.fromEntries([[MARKED, "true"], ...marks]) as Record<string, string>;
}

/** What is missing of the marks of a stream that is there, by the consumers that are; undefined if nothing is. */
export function missingMarks(
  { config }: StreamInfo,
  { consumers }: Topology,
  present: readonly { readonly spec: ConsumerSpec; readonly filters: readonly string[] }[],
): Record<string, string> | undefined {
  // Without consumers that have effects there is nothing to tell apart.
  if (!consumers.some(isMarked)) return undefined;
  const { metadata = {} } = config;
  const wanted: Record<string, string> = { [MARKED]: "true" };
  for (const { spec, filters } of present)
    if (isMarked(spec)) wanted[`${MARK}${spec.service}`] = filters.join(",");
  const missing = Object.entries(wanted).filter(([name, value]) => metadata[name] !== value);
  return missing.length > 0 ? Object.fromEntries(missing) : undefined;
}

/** How a consumer is to be made that is not there. */
export type Begin =
  | { readonly kind: "made"; readonly config: Partial<ConsumerConfig>; readonly text: string }
  | { readonly kind: "refused"; readonly reason: string };

/**
 * Decides where a consumer begins that the server does not have.
 *
 * - Nothing that it takes is stored: at the first message, as all do.
 * - It has been there: at the first message. What it has done its ledger shows, and what it has not is not to be skipped.
 * - It is new: at the first, or now ({@linkcode beginsNow}).
 * - Nobody can tell: refused, unless the topology says where.
 */
export async function beginOf(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  spec: ConsumerSpec,
  { stream, filters }: { stream: StreamInfo; filters: readonly string[] },
): Promise<Begin> {
  const counts = await Promise.all(
    filters.map(async (filter) => [filter, await stored({ connection, jsm }, stream, filter)] as const),
  );
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return { kind: "made", config: {}, text: "" };
  const name = `consumer ${spec.stream}/${spec.service}`;
  const what = counted(total, "message");
  const { metadata = {} } = stream.config;
  const mark = metadata[`${MARK}${spec.service}`];
  if (mark !== undefined && isMarked(spec)) {
    const before = mark.split(",");
    const added = counts.filter(([filter, count]) => count > 0 && !before.includes(filter));
    if (added.length === 0) {
      const text = `was there before and is missing: it gets the ${what} that are stored, and repeats nothing that its ledger shows`;
      return { kind: "made", config: {}, text };
    }
    const subjects = added.map(([filter, count]) => `${filter} (${counted(count, "message")})`).join(", ");
    const reason =
      `${name} was there before and is missing, and would get ${subjects} too, which it did not take then: ` +
      `apply the topology without that, and with it once the consumer has caught up`;
    return { kind: "refused", reason };
  }
  if (isMarked(spec) && metadata[MARKED] === undefined && spec.begins === undefined) {
    const reason =
      `${name} is missing, and ${spec.stream} was made by a version that did not note which consumers there are: ` +
      `say in the topology where it begins: "first" if it was there before, "now" if it is new and ${spec.effects} for ` +
      `the ${what} that are stored are not wanted`;
    return { kind: "refused", reason };
  }
  if (!beginsNow(spec)) {
    const effects = spec.effects === undefined || spec.projection === true ? "" : `, with ${spec.effects}`;
    return { kind: "made", config: {}, text: `gets the ${what} that are stored${effects}` };
  }
  const next = stream.state.last_seq + 1;
  const config = {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: next,
    metadata: { [BEGINS]: String(next) },
  };
  const none = spec.effects === undefined ? "it does not get" : `no ${spec.effects} for`;
  return { kind: "made", config, text: `begins now: ${none} the ${what} that are stored` };
}

/**
 * A consumer's configuration as the topology compares it: one that was made to begin at some message is one that begins at the
 * first. One that somebody made by hand to skip messages has no such mark, and differs.
 */
export function withBegin(config: ConsumerConfig): ConsumerConfig {
  const { deliver_policy, opt_start_seq: seq, metadata, ...rest } = config;
  const marked = deliver_policy === DeliverPolicy.StartSequence && metadata?.[BEGINS] === String(seq);
  return marked ? { ...rest, deliver_policy: DeliverPolicy.All } : config;
}

/** How many messages a stream holds under a filter. */
export async function stored(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  { config }: StreamInfo,
  filter: string,
): Promise<number> {
  if (config.allow_direct) return countFrom(connection, config.name, { filter, from: 1 });
  // A stream that somebody else made. It costs by the subjects.
  const { state } = await jsm.streams.info(config.name, { subjects_filter: filter });
  return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
}
