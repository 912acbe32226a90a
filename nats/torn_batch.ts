import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Contract } from "./contracts/contract.ts";
import { HeaderText } from "./headers.ts";
import { askLeader, type LeaderMessage } from "./read.ts";
import { publishedBy, streamOf, type Topology } from "./topology.ts";

/** A batch at the end of a stream of which only the first messages are stored. Nobody was told that it was committed. */
export interface TornBatch {
  readonly stream: string;
  readonly batchId: string;
  /** What is stored of it: sequences `from` to `to`, without a gap but for messages that were removed since. */
  readonly from: number;
  readonly to: number;
}

/** A stream, and all that is stored in it. */
export interface Ledgered {
  readonly stream: string;
  /** Subjects of its messages, with wildcards. Messages that schedules fire are not among them. */
  readonly filters: readonly string[];
}

/** All streams of a topology, buckets too. */
export function ledgersOf(topology: Topology): Ledgered[] {
  const { streams, buckets = [] } = topology;
  return [
    ...streams.map(({ name, prefix, owner }) => ({
      stream: name,
      filters: owner === undefined ? [`${prefix}.>`] : filtersOf(publishedBy(owner, topology)),
    })),
    ...buckets.map(streamOf).map(({ name, prefix }) => ({ stream: name, filters: [`${prefix}.>`] })),
  ];
}

/** All that a ledger's owner stores itself. */
export function filtersOf(contracts: readonly Contract[]): string[] {
  return contracts.filter(({ fired }) => !fired).map(({ subject }) => `${subject}.>`);
}

/**
 * Looks whether the last batch of a stream is whole.
 *
 * nats-server 2.15 stores a batch of an unreplicated stream message by message. When it starts, it completes one that broke
 * off from the files in which it has gathered it. Those files are not synced: after a power cut they may be gone, and then
 * half of the batch stays (`jetstream.go`, "Failed restoring partial batch write"). Each message keeps its headers, and the
 * one that commits says so. Costs one read for each filter.
 *
 * @returns Undefined if the batch is whole, or the last message was stored alone, or there is none.
 * @throws {Error} If the server does not answer.
 */
export async function findTornBatch(
  connection: NatsConnection,
  { stream, filters }: Ledgered,
): Promise<TornBatch | undefined> {
  const lasts = await Promise.all(
    filters.map((last_by_subj) => askLeader(connection, stream, { last_by_subj })),
  );
  const found = lasts.filter((message) => message !== undefined);
  const last = found.reduce<LeaderMessage | undefined>(
    (latest, message) => (latest === undefined || message.seq > latest.seq ? message : latest),
    undefined,
  );
  if (last?.hdrs === undefined) return undefined;
  const headers = new HeaderText(Buffer.from(last.hdrs, "base64"));
  const batchId = headers.get("Nats-Batch-Id");
  if (batchId === "" || headers.get("Nats-Batch-Commit") !== "") return undefined;
  const place = Number(headers.get("Nats-Batch-Sequence"));
  return { stream, batchId, from: last.seq - place + 1, to: last.seq };
}

/** What is wrong, in a sentence. */
export function tornText({ stream, from, to }: TornBatch): string {
  const there = from === to ? `message ${from} is` : `messages ${from} to ${to} are`;
  return `half of a commit is stored in ${stream}: ${there} there, and the rest was lost with the server`;
}

/** What is stored of a torn batch, and who has been given some of it. */
export interface TornBatchDetails {
  readonly messages: readonly { readonly seq: number; readonly subject: string }[];
  /** Consumers that may have acted on it. */
  readonly deliveredTo: readonly string[];
}

/** @throws {Error} If the server does not answer, or the credential may not see it all. */
export async function inspectTornBatch(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  { stream, from, to }: TornBatch,
): Promise<TornBatchDetails> {
  const messages: LeaderMessage[] = [];
  for (let seq = from; seq <= to; seq++) {
    const message = await askLeader(connection, stream, { seq });
    if (message !== undefined) messages.push(message);
  }
  const deliveredTo: string[] = [];
  for await (const { name, delivered } of jsm.consumers.list(stream)) {
    if (delivered.stream_seq >= from) deliveredTo.push(name);
  }
  return { messages: messages.map(({ seq, subject }) => ({ seq, subject })), deliveredTo };
}

/**
 * Removes what is stored of a torn batch, the last message first: what is left if this breaks off is torn as well and can be
 * removed by another call. What the batch was decided about was not acknowledged. It is delivered again, and decided again.
 *
 * @returns How many messages were removed.
 * @throws {Error} If the server does not answer, or the credential may not remove messages.
 */
export async function removeTornBatch(
  jsm: JetStreamManager,
  { stream }: TornBatch,
  { messages }: TornBatchDetails,
): Promise<number> {
  for (const { seq } of messages.toReversed()) await jsm.streams.deleteMessage(stream, seq, false);
  return messages.length;
}
