/** One message on its way into a stream. `D` is what it carries. */
export interface Entry<D> {
  readonly subject: string;
  readonly data: D;
  /** Sequence of the subject's last message, 0 for none. */
  readonly expect?: number | undefined;
  /** Stored as a schedule: at `at` the same data is published once to `target`. */
  readonly schedule?: { readonly at: Date; readonly target: string } | undefined;
  /** Subject of a schedule that this message removes. */
  readonly cancels?: string | undefined;
}

export interface Stored<D> {
  readonly seq: number;
  readonly subject: string;
  readonly data: D;
  /** Milliseconds of the store's clock. */
  readonly at: number;
}

export interface Delivered<D> extends Stored<D> {
  /** 1 for the first time. */
  readonly deliveries: number;
}

export type StoreOutcome = { kind: "committed"; lastSeq: number } | { kind: "conflict" };

export interface StoreOptions {
  /** Milliseconds. */
  now(): number;
  /** Plans something for later. */
  after(ms: number, run: () => void): void;
  /** How long an unacknowledged message waits before it is delivered again, in milliseconds. */
  ackWaitMs: number;
  /** Whether a schedule that is due never fires, for whoever must not rely on it. Default: each one fires. */
  losesTimer?(): boolean;
}

interface Consumer {
  readonly filters: readonly string[];
  /** The first sequence that was never delivered. */
  next: number;
  readonly pending: Map<number, { deliveries: number; due: number }>;
  notify: () => void;
}

interface Stream<D> {
  lastSeq: number;
  readonly messages: Stored<D>[];
  readonly last: Map<string, Stored<D>>;
  readonly schedules: Map<string, { at: number; target: string; seq: number }>;
  readonly consumers: Map<string, Consumer>;
}

/**
 * JetStream in memory, as far as this project uses it: streams with guarded atomic batches, last-by-subject reads,
 * schedules, and durable pull consumers. It holds the same contract as the real server (`bus_contract.ts`), and never
 * fails: failing is the network's business.
 */
export class Store<D> {
  readonly #streams = new Map<string, Stream<D>>();
  readonly #options: StoreOptions;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  addStream(name: string): void {
    this.#streams.set(name, {
      lastSeq: 0,
      messages: [],
      last: new Map(),
      schedules: new Map(),
      consumers: new Map(),
    });
  }

  /** @param options.filters Subjects without the id: `order.created`. */
  addConsumer(
    stream: string,
    name: string,
    options: { filters: readonly string[]; notify?: () => void },
  ): void {
    const { filters, notify = () => undefined } = options;
    this.#stream(stream).consumers.set(name, { filters, next: 1, pending: new Map(), notify });
  }

  /** All or none, in order, under all guards. */
  commit(stream: string, entries: readonly Entry<D>[]): StoreOutcome {
    const into = this.#stream(stream);
    for (const { subject, expect } of entries) {
      if (expect !== undefined && (into.last.get(subject)?.seq ?? 0) !== expect) return { kind: "conflict" };
    }
    for (const { subject, data, schedule, cancels } of entries) {
      if (cancels !== undefined) this.#unschedule(into, cancels);
      if (into.schedules.has(subject)) this.#unschedule(into, subject);
      const { seq } = this.#append(into, subject, data);
      if (schedule !== undefined) this.#schedule(into, subject, { ...schedule, seq });
    }
    for (const consumer of into.consumers.values()) {
      if (entries.some(({ subject }) => matches(consumer, subject))) consumer.notify();
    }
    return { kind: "committed", lastSeq: into.lastSeq };
  }

  last(stream: string, subject: string): Stored<D> | undefined {
    return this.#stream(stream).last.get(subject);
  }

  /** Every message that is stored, in order. */
  all(stream: string): readonly Stored<D>[] {
    return this.#stream(stream).messages;
  }

  /** Subjects of the schedules that have not fired. */
  scheduled(stream: string): string[] {
    return [...this.#stream(stream).schedules.keys()];
  }

  /** Up to `max` messages: those whose time to be acknowledged is over, then those that were never delivered. */
  fetch(stream: string, name: string, max: number): Delivered<D>[] {
    const from = this.#stream(stream);
    const consumer = this.#consumer(stream, name);
    const now = this.#options.now();
    const fetched: Delivered<D>[] = [];
    const deliver = (message: Stored<D>, deliveries: number) => {
      consumer.pending.set(message.seq, { deliveries, due: now + this.#options.ackWaitMs });
      fetched.push({ ...message, deliveries });
    };
    for (const [seq, { deliveries, due }] of consumer.pending) {
      if (fetched.length === max) break;
      const message = due <= now ? find(from, seq) : undefined;
      if (message !== undefined) deliver(message, deliveries + 1);
    }
    for (; fetched.length < max && consumer.next <= from.lastSeq; consumer.next++) {
      const message = find(from, consumer.next);
      if (message !== undefined && matches(consumer, message.subject)) deliver(message, 1);
    }
    if (fetched.length > 0) this.#options.after(this.#options.ackWaitMs, () => this.#notifyDue(consumer));
    return fetched;
  }

  ack(stream: string, name: string, seq: number): void {
    this.#consumer(stream, name).pending.delete(seq);
  }

  /** Gives a message back: it comes again after `delayMs`. */
  nak(stream: string, name: string, options: { seq: number; delayMs: number }): void {
    const consumer = this.#consumer(stream, name);
    const pending = consumer.pending.get(options.seq);
    if (pending === undefined) return;
    pending.due = this.#options.now() + options.delayMs;
    this.#options.after(options.delayMs, () => this.#notifyDue(consumer));
  }

  /** Forgets everything that a consumer has acknowledged: it starts anew with the first message. */
  reset(stream: string, name: string): void {
    const consumer = this.#consumer(stream, name);
    consumer.next = 1;
    consumer.pending.clear();
    consumer.notify();
  }

  /** Messages that were not acknowledged, delivered or not. */
  waiting(stream: string, name: string): number {
    const from = this.#stream(stream);
    const consumer = this.#consumer(stream, name);
    const undelivered = from.messages.filter(
      ({ seq, subject }) => seq >= consumer.next && matches(consumer, subject),
    );
    return consumer.pending.size + undelivered.length;
  }

  #append(into: Stream<D>, subject: string, data: D): Stored<D> {
    into.lastSeq += 1;
    const message = { seq: into.lastSeq, subject, data, at: this.#options.now() };
    into.messages.push(message);
    into.last.set(subject, message);
    return message;
  }

  #schedule(
    into: Stream<D>,
    subject: string,
    { at, target, seq }: { at: Date; target: string; seq: number },
  ): void {
    const due = at.getTime();
    into.schedules.set(subject, { at: due, target, seq });
    this.#options.after(Math.max(1, due - this.#options.now()), () => {
      if (into.schedules.get(subject)?.seq !== seq || this.#options.losesTimer?.()) return;
      const data = into.last.get(subject)?.data as D;
      this.#unschedule(into, subject);
      this.#append(into, target, data);
      for (const consumer of into.consumers.values()) if (matches(consumer, target)) consumer.notify();
    });
  }

  /** A schedule is removed together with its message. */
  #unschedule(into: Stream<D>, subject: string): void {
    const schedule = into.schedules.get(subject);
    if (schedule === undefined) return;
    into.schedules.delete(subject);
    into.last.delete(subject);
    const at = indexOf(into.messages, schedule.seq);
    if (at !== undefined) into.messages.splice(at, 1);
  }

  #notifyDue({ pending, notify }: Consumer): void {
    const now = this.#options.now();
    for (const { due } of pending.values()) {
      if (due > now) continue;
      notify();
      return;
    }
  }

  #stream(name: string): Stream<D> {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new RangeError(`Cannot find stream ${name}`);
    return stream;
  }

  #consumer(stream: string, name: string): Consumer {
    const consumer = this.#stream(stream).consumers.get(name);
    if (consumer === undefined) throw new RangeError(`Cannot find consumer ${stream}/${name}`);
    return consumer;
  }
}

function matches({ filters }: Consumer, subject: string): boolean {
  return filters.some((filter) => subject.startsWith(filter) && subject[filter.length] === ".");
}

function find<D>({ messages }: Stream<D>, seq: number): Stored<D> | undefined {
  const at = indexOf(messages, seq);
  return at === undefined ? undefined : messages[at];
}

/** Sequences ascend, with gaps where schedules were. */
function indexOf(messages: readonly { seq: number }[], seq: number): number | undefined {
  let low = 0;
  let high = messages.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = messages[middle]?.seq ?? 0;
    if (found === seq) return middle;
    if (found < seq) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}
