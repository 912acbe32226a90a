import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import { type Contract, decode, splitSubject, topology } from "../../../nats/mod.ts";
import { orUnavailable } from "../streams.ts";
import { until } from "../until.ts";

/** A message as its stream holds it. */
export interface Stored {
  readonly seq: number;
  readonly subject: string;
  readonly time: Date;
  readonly headers: MsgHdrs;
  readonly data: Uint8Array;
}

/** A stored message and what it says. */
export interface Said<S extends DescMessage> extends Stored {
  readonly id: string;
  readonly value: MessageShape<S>;
}

/** Everything that is stored, by stream, in stream order. */
export type Ledgers = Readonly<Record<string, readonly Stored[]>>;

/** The server's limit for one Direct Get. */
const PAGE = 1_000;
const PATIENCE_MS = 60_000;

/** Reads all streams of the shop from beginning to end. */
export async function readLedgers(jsm: JetStreamManager): Promise<Ledgers> {
  const ledgers: Record<string, Stored[]> = {};
  for (const { name } of topology.streams) ledgers[name] = await readStream(jsm, name);
  return ledgers;
}

async function readStream(jsm: JetStreamManager, stream: string): Promise<Stored[]> {
  const all: Stored[] = [];
  for (let from = 1; ; ) {
    // What was broken may have been the server, which has other things to do for a while.
    const page = await until(`messages of ${stream}`, () => orUnavailable(readPage(jsm, stream, from)), {
      timeoutMs: PATIENCE_MS,
    });
    all.push(...page);
    const last = page.at(-1);
    if (last === undefined) return all;
    from = last.seq + 1;
  }
}

async function readPage(jsm: JetStreamManager, stream: string, from: number): Promise<Stored[]> {
  const page: Stored[] = [];
  const batch = await jsm.direct.getBatch(stream, { seq: from, next_by_subj: ">", batch: PAGE });
  try {
    for await (const { seq, subject, time, header, data } of batch as AsyncIterable<StoredMsg>) {
      page.push({ seq, subject, time, headers: header, data });
    }
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === 404)) throw cause;
  }
  return page;
}

/** What was said under one contract, by whom it is about, in stream order. */
export function said<S extends DescMessage>(ledgers: Ledgers, contract: Contract<S>): Map<string, Said<S>[]> {
  const found = new Map<string, Said<S>[]>();
  const owner = topology.streams.find(({ prefix }) => contract.subject.startsWith(`${prefix}.`));
  for (const stored of ledgers[owner?.name ?? ""] ?? []) {
    const { prefix, id } = splitSubject(stored.subject);
    if (prefix !== contract.subject) continue;
    const list = found.get(id) ?? [];
    list.push({ ...stored, id, value: decode(contract, stored.data) });
    found.set(id, list);
  }
  return found;
}
