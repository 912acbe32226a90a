import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type BatchEntry, MAX_BATCH_MESSAGES } from "./commit.ts";
import { type Contract, encode, type Outgoing } from "./contracts/contract.ts";
import { counted } from "./counted.ts";
import { HeaderLines, headerLine } from "./headers.ts";
import { startCreate } from "./spans.ts";
import { isSampled, randomId, type TraceContext } from "./trace.ts";
import type { Span, Tracer } from "./tracer.ts";

/**
 * Upper bound on the payload bytes of one batch: an R1 server stages a batch in files of its own and an R3 server
 * in memory, so that the size is a cost on the server whatever the number of messages.
 */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** What the messages of a batch say of their sender. */
export interface Sender {
  /** CloudEvents `source`: `/services/inventory`. */
  source: string;
  /** CloudEvents `dataschema` of a contract's messages: the registry's URL of the schema. Default: they name none. */
  dataSchema?(contract: Contract): string | undefined;
  /** Where the messages of sampled traces are recorded. Default: nowhere. */
  tracer?: Tracer | undefined;
}

/** The trace that the messages of a decision belong to. */
export interface Belonging {
  trace: TraceContext;
  /** What asked for them, if that is of another trace. */
  cause?: TraceContext | undefined;
  /** Headers that say which message they were decided about ({@linkcode causeLines}). Default: none, since it was none. */
  causeLines?: string | undefined;
}

interface Slot {
  message: Outgoing;
  data: Uint8Array;
  expect: number | undefined;
  belonging: Belonging;
  /** Of the message, once it is on its way and if its trace is recorded. */
  span: Span | undefined;
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

  /** The trace of what this batch will store last under `subject`, if it writes it. */
  traceOf(subject: string): TraceContext | undefined {
    return this.#bySubject.get(subject)?.belonging.trace;
  }

  /**
   * Adds all messages of a decision.
   * @param guards Sequence that each key of the decision was read at; the first write of a key is guarded by it.
   * @returns False, with nothing added, if the batch has no room for all of them.
   * @throws {RangeError} If an empty batch has no room for all of them: no batch ever will.
   */
  add(messages: readonly Outgoing[], guards: ReadonlyMap<string, number>, belonging: Belonging): boolean {
    const encoded = messages.map((message) => encode(message.contract, message.value));
    const bytes = encoded.reduce((sum, data) => sum + data.length, 0);
    if (this.size + messages.length > MAX_BATCH_MESSAGES || this.#bytes + bytes > MAX_BATCH_BYTES) {
      if (this.size > 0) return false;
      throw new RangeError(
        `Cannot commit a decision of ${counted(messages.length, "message")} and ${counted(bytes, "byte")}: ` +
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
        Object.assign(earlier, { message, data, belonging });
        return;
      }
      const expect = earlier === undefined ? guards.get(message.subject) : undefined;
      const slot: Slot = { message, data, expect, belonging, span: undefined };
      if (message.schedule === undefined) this.#slots.push(slot);
      else this.#slots.splice(this.#placeOfSchedule(message.subject), 0, slot);
      this.#bySubject.set(message.subject, slot);
    });
    return true;
  }

  /**
   * As early as it can be: behind the schedules that came before, and behind what removes an earlier one of it. A schedule leaves its stream once it has fired, and the
   * message that commits has to stay: it shows that the batch is whole.
   */
  #placeOfSchedule(subject: string): number {
    const removal = this.#slots.findLastIndex(({ message }) => message.cancels === subject);
    const first = this.#slots.findIndex(({ message }) => message.schedule === undefined);
    return Math.max(removal + 1, first < 0 ? this.#slots.length : first);
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
  *stored(lastSeq: number): Iterable<{ message: Outgoing; seq: number; trace: TraceContext }> {
    const first = lastSeq - this.#slots.length + 1;
    for (const [index, slot] of this.#slots.entries()) {
      const { message, span, belonging } = slot;
      if (this.#bySubject.get(message.subject) !== slot) continue;
      yield { message, seq: first + index, trace: (span ?? belonging).trace };
    }
  }

  /** The messages that are recorded, each with its place in the batch and what it was decided in. */
  traced(): { span: Span; index: number; parent: TraceContext }[] {
    return this.#slots.flatMap(({ span, belonging }, index) =>
      span === undefined ? [] : [{ span, index, parent: belonging.trace }],
    );
  }

  /** As the wire wants it: CloudEvents in binary mode, trace context, schedules, guards. */
  entries(sender: Sender, now: Date): BatchEntry[] {
    const batch = randomId();
    const time = now.toISOString();
    return this.#slots.map((slot, index) => {
      const { message, data, expect, belonging } = slot;
      const { contract, subject, schedule, cancels } = message;
      const id = `${batch}.${index + 1}`;
      if (sender.tracer !== undefined && isSampled(belonging.trace)) {
        slot.span = startCreate(sender.tracer, message, {
          id,
          parent: belonging.trace,
          cause: belonging.cause,
        });
      }
      // Where nobody records, what comes next is still a child of what was recorded last.
      const { trace } = slot.span ?? belonging;
      // Each value is our own or was checked where it came in, but for `tracestate`, which `set` checks.
      const headers = new HeaderLines(
        `${linesOf(contract, sender)}ce-id: ${id}\r\nce-time: ${time}\r\n` +
          `ce-subject: ${subject.slice(contract.subject.length + 1)}\r\n` +
          `traceparent: ${trace.traceparent}\r\n${belonging.causeLines ?? ""}`,
      );
      if (trace.tracestate !== undefined) headers.set("tracestate", trace.tracestate);
      if (schedule !== undefined) {
        headers.set("Nats-Schedule", `@at ${schedule.at.toISOString()}`);
        headers.set("Nats-Schedule-Target", schedule.target);
      }
      if (cancels !== undefined) {
        headers.set("Nats-Scheduler", cancels);
        headers.set("Nats-Schedule-Next", "purge");
      }
      const entry: BatchEntry = { subject, data, headers };
      if (expect !== undefined) entry.expect = expect;
      return entry;
    });
  }
}

const constantLines = new WeakMap<Sender, Map<Contract, string>>();

/** The headers that all messages of a contract have in common, made once. */
function linesOf(contract: Contract, sender: Sender): string {
  const known = constantLines.get(sender) ?? new Map<Contract, string>();
  constantLines.set(sender, known);
  const lines = known.get(contract) ?? constantLinesOf(contract, sender);
  known.set(contract, lines);
  return lines;
}

function constantLinesOf(contract: Contract, sender: Sender): string {
  const dataSchema = sender.dataSchema?.(contract);
  return [
    headerLine("ce-specversion", "1.0"),
    headerLine("ce-source", sender.source),
    headerLine("ce-type", contract.schema.typeName),
    ...(dataSchema === undefined ? [] : [headerLine("ce-dataschema", dataSchema)]),
    headerLine("content-type", "application/protobuf"),
  ].join("");
}
