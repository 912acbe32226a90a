import { splitSubject, streamHolding, topology } from "../../../nats/mod.ts";
import type { Ledgers, Stored } from "./ledgers.ts";

/** What a schedule fires carries the headers of the schedule, those of its batch among them, and is of no batch. */
const fired = (topology.contracts ?? []).filter((contract) => contract.fired);
const firedKinds = new Set(fired.map(({ subject }) => subject));

/** Streams that have schedules, which leave them once they have fired or were cancelled, and with them their place in a batch. */
const scheduling = new Set(fired.map((contract) => streamHolding(contract)?.name));

interface Batches {
  /** Batches of which something is still stored. */
  readonly count: number;
  readonly faults: string[];
}

/**
 * All or none: every batch lies in one piece in its stream, from its first message to the one that commits it. The server
 * keeps the headers by which that can be seen. A place is empty only where a schedule was.
 */
export function checkBatches(ledgers: Ledgers): Batches {
  const faults: string[] = [];
  let count = 0;
  for (const [stream, messages] of Object.entries(ledgers)) {
    const schedules = scheduling.has(stream);
    const bySeq = new Map(messages.map((message) => [message.seq, message]));
    const last = messages.at(-1)?.seq ?? 0;
    for (const [batch, first] of firstOfEach(messages)) {
      count += 1;
      const begin = first.seq - placeOf(first) + 1;
      for (let seq = begin; ; seq++) {
        const message = bySeq.get(seq);
        if (message === undefined && schedules && seq <= last) continue;
        const own = message !== undefined && batchOf(message) === batch;
        // Behind a schedule that ended the batch and was removed comes another message.
        if (!own && schedules && seq > begin && !bySeq.has(seq - 1)) break;
        if (message === undefined || !own || placeOf(message) !== seq - begin + 1) {
          faults.push(
            `batch ${batch} in ${stream} breaks off at ${seq}, which is ${message?.subject ?? "missing"}`,
          );
          break;
        }
        if (message.headers.get("Nats-Batch-Commit") !== "") break;
      }
    }
  }
  return { count, faults };
}

function firstOfEach(messages: readonly Stored[]): Map<string, Stored> {
  const first = new Map<string, Stored>();
  for (const message of messages) {
    const batch = batchOf(message);
    if (batch !== "" && !first.has(batch)) first.set(batch, message);
  }
  return first;
}

/** Empty for a message that was stored alone. */
function batchOf({ subject, headers }: Stored): string {
  return firedKinds.has(splitSubject(subject).prefix) ? "" : headers.get("Nats-Batch-Id");
}

function placeOf(message: Stored): number {
  return Number(message.headers.get("Nats-Batch-Sequence"));
}
