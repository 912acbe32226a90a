import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type BatchEntry, MAX_BATCH_MESSAGES, newHeaders } from "./commit.ts";
import { encode, type Outgoing, schemaGuid } from "./contracts/contract.ts";
import { nextHop, type TraceContext } from "./trace.ts";

/**
 * Upper bound on the payload bytes of one batch: an R1 server stages a batch in files of its own and an R3 server
 * in memory, so that the size is a cost on the server whatever the number of messages.
 */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** What the messages of a batch say of their sender. */
export interface Sender {
  /** CloudEvents `source`: `/services/inventory`. */
  source: string;
  /** Base URL of the schema registry, for `ce-dataschema`. */
  registryUrl: string;
}

interface Slot {
  message: Outgoing;
  data: Uint8Array;
  expect: number | undefined;
  trace: TraceContext;
}

/**
 * The messages of several decisions on their way to one commit. Later decisions are made on what earlier ones of the
 * same batch have written: `get()` shows it.
 */
export class Batch {
  #slots: Slot[] = [];
  #bySubject = new Map<string, Slot>();
  #bytes = 0;

  get size(): number {
    return this.#slots.length;
  }

  /** What this batch will store last under `subject`, if it writes it. */
  get(subject: string): MessageShape<DescMessage> | undefined {
    return this.#bySubject.get(subject)?.message.value;
  }

  has(subject: string): boolean {
    return this.#bySubject.has(subject);
  }

  /**
   * Adds all messages of a decision.
   * @param guards Sequence that each key of the decision was read at; the first write of a key is guarded by it.
   * @returns False, with nothing added, if the batch has no room for all of them.
   * @throws {RangeError} If an empty batch has no room for all of them: no batch ever will.
   */
  add(messages: readonly Outgoing[], guards: ReadonlyMap<string, number>, trace: TraceContext): boolean {
    const encoded = messages.map((message) => encode(message.contract, message.value));
    const bytes = encoded.reduce((sum, data) => sum + data.length, 0);
    if (this.size + messages.length > MAX_BATCH_MESSAGES || this.#bytes + bytes > MAX_BATCH_BYTES) {
      if (this.size > 0) return false;
      throw new RangeError(
        `Cannot commit a decision of ${messages.length} messages and ${bytes} bytes: ` +
          `a batch holds ${MAX_BATCH_MESSAGES} messages and ${MAX_BATCH_BYTES} bytes`,
      );
    }
    this.#bytes += bytes;
    messages.forEach((message, index) => {
      const data = encoded[index] as Uint8Array;
      if (message.cancels !== undefined) this.#drop(message.cancels);
      const earlier = this.#bySubject.get(message.subject);
      // A message that removes a schedule has to be stored even if its value is not the last.
      const replaces = message.contract.keep === "latest" && earlier?.message.cancels === undefined;
      if (earlier !== undefined && replaces) {
        this.#bytes -= earlier.data.length;
        Object.assign(earlier, { message, data, trace });
        return;
      }
      const expect = earlier === undefined ? guards.get(message.subject) : undefined;
      const slot: Slot = { message, data, expect, trace };
      this.#slots.push(slot);
      this.#bySubject.set(message.subject, slot);
    });
    return true;
  }

  /** A schedule that is set and removed in one batch is never set. */
  #drop(schedule: string): void {
    const slot = this.#bySubject.get(schedule);
    if (slot === undefined) return;
    this.#slots = this.#slots.filter((other) => other !== slot);
    this.#bySubject.delete(schedule);
    this.#bytes -= slot.data.length;
  }

  /** Subjects that the server will guard, that is the keys that this batch writes. */
  guarded(): string[] {
    return this.#slots.filter((slot) => slot.expect !== undefined).map((slot) => slot.message.subject);
  }

  /** The last value and sequence of every subject, once the batch is stored with consecutive sequences up to `lastSeq`. */
  *stored(lastSeq: number): Iterable<{ message: Outgoing; seq: number }> {
    const first = lastSeq - this.#slots.length + 1;
    for (const [index, slot] of this.#slots.entries()) {
      if (this.#bySubject.get(slot.message.subject) === slot)
        yield { message: slot.message, seq: first + index };
    }
  }

  /** As the wire wants it: CloudEvents in binary mode, trace context, schedules, guards. */
  entries(sender: Sender, now: Date): BatchEntry[] {
    const batch = crypto.randomUUID();
    const time = now.toISOString();
    return this.#slots.map(({ message, data, expect, trace }, index) => {
      const { schema, subject: kind } = message.contract;
      const headers = newHeaders();
      headers.set("ce-specversion", "1.0");
      headers.set("ce-id", `${batch}.${index + 1}`);
      headers.set("ce-source", sender.source);
      headers.set("ce-type", schema.typeName);
      headers.set("ce-subject", message.subject.slice(kind.length + 1));
      headers.set("ce-time", time);
      headers.set("ce-dataschema", `${sender.registryUrl}/schemas/guids/${schemaGuid(schema)}`);
      headers.set("content-type", "application/protobuf");
      headers.set("traceparent", nextHop(trace).traceparent);
      if (trace.tracestate !== undefined) headers.set("tracestate", trace.tracestate);
      if (message.schedule !== undefined) {
        headers.set("Nats-Schedule", `@at ${message.schedule.at.toISOString()}`);
        headers.set("Nats-Schedule-Target", message.schedule.target);
      }
      if (message.cancels !== undefined) {
        headers.set("Nats-Scheduler", message.cancels);
        headers.set("Nats-Schedule-Next", "purge");
      }
      const entry: BatchEntry = { subject: message.subject, data, headers };
      if (expect !== undefined) entry.expect = expect;
      return entry;
    });
  }
}
