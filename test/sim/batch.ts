import { Batch } from "../../nats/batch.ts";
import * as contracts from "../../nats/contracts/mod.ts";
import { type Contract, decode, type Outgoing, splitSubject } from "../../nats/contracts/mod.ts";
import { HeaderText, newTrace } from "../../nats/mod.ts";
import type { Value } from "./network.ts";
import { dateOf, msOf } from "./process.ts";
import type { Entry } from "./store.ts";

/** The messages of several decisions on their way to one commit. */
export interface SimBatch {
  readonly size: number;
  get(subject: string): Value | undefined;
  add(messages: readonly Outgoing[], guards: ReadonlyMap<string, number>): void;
  /** With the sequences that they are stored at. */
  stored(lastSeq: number): Iterable<{ message: Outgoing; seq: number }>;
  entries(): Entry<Value>[];
}

/** What `Batch` of `nats/` does, without encoding anything. */
export class QuickBatch implements SimBatch {
  #slots: { message: Outgoing; expect: number | undefined }[] = [];

  get size(): number {
    return this.#slots.length;
  }

  get(subject: string): Value | undefined {
    return this.#slots.findLast(({ message }) => message.subject === subject)?.message.value;
  }

  add(messages: readonly Outgoing[], guards: ReadonlyMap<string, number>): void {
    for (const message of messages) {
      const { cancels, subject, contract } = message;
      if (cancels !== undefined) this.#slots = this.#slots.filter((slot) => slot.message.subject !== cancels);
      const earlier = this.#slots.findLast((slot) => slot.message.subject === subject);
      if (earlier !== undefined && contract.keep === "latest" && earlier.message.cancels === undefined) {
        earlier.message = message;
      } else {
        this.#slots.push({ message, expect: earlier === undefined ? guards.get(subject) : undefined });
      }
    }
  }

  *stored(lastSeq: number): Iterable<{ message: Outgoing; seq: number }> {
    const first = lastSeq - this.size + 1;
    for (const [index, { message }] of this.#slots.entries()) yield { message, seq: first + index };
  }

  entries(): Entry<Value>[] {
    return this.#slots.map(({ message: { subject, value, schedule, cancels }, expect }) => ({
      subject,
      data: value,
      expect,
      cancels,
      ...(schedule && { schedule: { at: new Date(msOf(schedule.at)), target: schedule.target } }),
    }));
  }
}

const trace = newTrace();
const sender = { source: "/services/simulated" };
const bySubject = new Map<string, Contract>(
  Object.values(contracts)
    .filter((exported) => typeof exported === "object")
    .map((contract) => [contract.subject, contract]),
);

/** `Batch` of `nats/` itself: what is stored has been encoded, given its headers, and read back from both. */
export class WireBatch implements SimBatch {
  readonly #batch = new Batch();

  get size(): number {
    return this.#batch.size;
  }

  get(subject: string): Value | undefined {
    return this.#batch.get(subject);
  }

  add(messages: readonly Outgoing[], guards: ReadonlyMap<string, number>): void {
    if (!this.#batch.add(messages, guards, { trace }))
      throw new RangeError("Cannot simulate a batch that is full");
  }

  stored(lastSeq: number): Iterable<{ message: Outgoing; seq: number }> {
    return this.#batch.stored(lastSeq);
  }

  entries(): Entry<Value>[] {
    return this.#batch.entries(sender, dateOf(0)).map(({ subject, data, headers, expect }) => {
      const contract = bySubject.get(splitSubject(subject).prefix);
      if (contract === undefined) throw new TypeError(`Cannot read ${subject}: no contract has this subject`);
      const written = new HeaderText(headers.encode());
      const at = written.get("Nats-Schedule").replace("@at ", "");
      const schedule = { at: new Date(msOf(new Date(at))), target: written.get("Nats-Schedule-Target") };
      return {
        subject,
        data: decode(contract, data),
        expect,
        cancels: written.get("Nats-Scheduler") || undefined,
        ...(at !== "" && { schedule }),
      };
    });
  }
}
