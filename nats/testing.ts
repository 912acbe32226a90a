import type { JetStreamManager } from "@nats-io/jetstream";
import { ItemSchema } from "../gen/shop/inventory/v1/item_pb.ts";
import { IdempotencyKeySchema } from "../gen/shop/order/v1/idempotency_key_pb.ts";
import { WaitingDueSchema } from "../gen/shop/waiting/v1/waiting_due_pb.ts";
import { WaitingSchema } from "../gen/shop/waiting/v1/waiting_pb.ts";
import { applyTopology } from "./apply.ts";
import { orMissing } from "./compare.ts";
import { type Contract, contract, key, message } from "./contracts/mod.ts";
import { Ledger, type LedgerOptions } from "./ledger.ts";
import { viewPage } from "./read.ts";
import type { Task } from "./task.ts";
import type { Topology } from "./topology.ts";
import { newTrace, randomId } from "./trace.ts";
import type { Attributes, Span, SpanOptions, Tracer } from "./tracer.ts";

// A world for the tests of this folder: one ledger, one inbox that it takes commands from, and no shop.

/** State: `available` is the count. */
export const counter = contract("test.counter", ItemSchema);
/** State, of which a batch stores only the last. */
export const gauge = contract("test.gauge", ItemSchema, { keep: "latest" });
/** An event: `orderId` says what. */
export const note = contract("test.note", IdempotencyKeySchema);
/** A schedule that fires {@linkcode alarm}. */
export const timer = contract("test.timer", IdempotencyKeySchema, { keep: "latest" });
export const alarm = contract("test.alarm", IdempotencyKeySchema, { fired: true });
/** A command: add one to the counter of the same id, once per `orderId`. */
export const add = contract("inbox.add", IdempotencyKeySchema);
/** A command with an effect outside the ledger. */
export const act = contract("inbox.act", IdempotencyKeySchema);
/** How the ledger's service stores what waits. */
export const waiting = {
  state: contract("test.waiting", WaitingSchema, { keep: "latest" }),
  timer: contract("test.waiting_timer", WaitingDueSchema, { keep: "latest" }),
  due: contract("test.waiting_due", WaitingDueSchema, { fired: true }),
};
/** A command that its consumer takes and nobody handles. */
export const other = contract("inbox.other", IdempotencyKeySchema);

export const testTopology: Topology = {
  streams: [
    { name: "TEST", prefix: "test", owner: "test", description: "The ledger" },
    { name: "INBOX", prefix: "inbox", owner: "others", description: "Commands to it" },
    { name: "DEAD_LETTER", prefix: "dead_letter", owner: undefined, description: "What it gave up" },
  ],
  consumers: [{ stream: "INBOX", service: "test", contracts: [add, act, other] }],
};

/** The same where the inbox is counted, not handled. */
export const projectionTopology: Topology = {
  ...testTopology,
  consumers: [
    { stream: "INBOX", service: "test", contracts: [add], projection: true },
    { stream: "DEAD_LETTER", service: "test", contracts: [], deadLetters: true, projection: true },
  ],
};

/** Makes streams and consumers anew, with nothing in them. */
export async function makeAnew(jsm: JetStreamManager, servers: string, topology: Topology): Promise<void> {
  for (const { name } of topology.streams) await orMissing(jsm.streams.delete(name));
  await applyTopology({ servers, topology });
}

/** Adds to a counter and resolves with the new count. */
export function increment(
  id: string,
  options: { contract?: Contract<typeof ItemSchema> } = {},
): Task<bigint> {
  const { contract: state = counter } = options;
  return {
    keys: [key(state, id)],
    trace: newTrace(),
    decide(view) {
      const available = (view.get(state, id)?.available ?? 0n) + 1n;
      return { messages: [message(state, id, { available })], result: available };
    },
  };
}

export type Attempt = Parameters<NonNullable<LedgerOptions["onCommit"]>>[0];

/** A ledger of {@linkcode testTopology} that remembers its attempts to commit. */
export function openLedger(
  client: { connection: ConstructorParameters<typeof Ledger>[0]; jsm: JetStreamManager },
  options: Partial<LedgerOptions> = {},
): { ledger: Ledger; attempts: Attempt[] } {
  const attempts: Attempt[] = [];
  const ledger = new Ledger(client.connection, {
    stream: "TEST",
    source: "/services/test",
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    onCommit: (attempt) => attempts.push(attempt),
    ...options,
  });
  return { ledger, attempts };
}

/** Every count that was stored for `id`, in order. */
export async function countsOf(
  jsm: JetStreamManager,
  id: string,
  options: { contract?: Contract<typeof ItemSchema> } = {},
): Promise<number[]> {
  const { contract: state = counter } = options;
  const counts: number[] = [];
  for (let from = 1; ; ) {
    const page = await viewPage(jsm, "TEST", state, { from, limit: 1_000 });
    for (const stored of page) if (stored.id === id) counts.push(Number(stored.value.available));
    const last = page.at(-1);
    if (last === undefined) return counts;
    from = last.seq + 1;
  }
}

export interface RecordedSpan extends Span {
  name: string;
  options: SpanOptions;
  /** Those of the beginning and those that were added. */
  attributes: Attributes;
  /** `error.type` */
  failure: string | undefined;
}

/** Keeps what it is told. */
export class RecordingTracer implements Tracer {
  readonly started: RecordedSpan[] = [];
  readonly ended: RecordedSpan[] = [];

  start(name: string, options: SpanOptions): RecordedSpan {
    const root = options.parent ?? newTrace();
    const spanId = randomId().slice(16);
    const span: RecordedSpan = {
      name,
      options,
      trace: { ...root, traceparent: `${root.traceparent.slice(0, 36)}${spanId}-01` },
      attributes: { ...options.attributes },
      failure: undefined,
      rename: (name) => void Object.assign(span, { name }),
      set: (attributes) => void Object.assign(span.attributes, attributes),
      fail: (failure) => void Object.assign(span, { failure }),
      end: () => void this.ended.push(span),
    };
    this.started.push(span);
    return span;
  }
}
