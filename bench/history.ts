import type { BatchEntry } from "../nats/mod.ts";
import { HeaderLines, headerLine } from "../nats/mod.ts";

/** A message of an order as it was stored, or as it was sent if it has been removed since. */
export interface Original {
  readonly subject: string;
  readonly headers: Headers;
  readonly data: Uint8Array;
}

type Headers = readonly (readonly [name: string, value: string])[];

/** One message with the places at which the id of its order stands. */
interface Template {
  /** What stands before, between and behind the ids. */
  readonly subject: readonly string[];
  readonly headers: readonly string[];
  /** Whether it is a schedule. */
  readonly isTimer: boolean;
  readonly data: Uint8Array;
  /** Where ids begin in `data`. */
  readonly ids: readonly number[];
}

/** What one order left in one stream, in the stream's order. */
export interface OrderTemplate {
  readonly idLength: number;
  readonly messages: readonly Template[];
}

/** Headers that ask the server for something a copy wants as well. All others of its own are of one write only. */
const KEPT = new Set(["Nats-Schedule-Target", "Nats-Scheduler", "Nats-Schedule-Next"]);
const SCHEDULE = "Nats-Schedule";

export function templateOf(orderId: string, originals: readonly Original[]): OrderTemplate {
  const messages = originals.map(({ subject, headers, data }) => ({
    subject: subject.split(orderId),
    headers: keptHeaders(headers).split(orderId),
    isTimer: headers.some(([name]) => name === SCHEDULE),
    data,
    ids: placesOf(Buffer.from(orderId), Buffer.from(data)),
  }));
  return { idLength: orderId.length, messages };
}

/** Lines of the headers that a copy of the message has as well. */
export function keptHeaders(headers: Headers): string {
  const kept = headers.filter(([name]) => !name.startsWith("Nats-") || KEPT.has(name));
  return kept.map(([name, value]) => headerLine(name, value)).join("");
}

function placesOf(id: Buffer, data: Buffer): number[] {
  const places: number[] = [];
  for (let at = data.indexOf(id); at >= 0; at = data.indexOf(id, at + id.length)) places.push(at);
  return places;
}

/**
 * The messages of another order that took the same course. Lengths within the payload stay right, since ids have one
 * length.
 *
 * @param options.timersAt What its timers are set for.
 * @throws {RangeError} If `orderId` is longer or shorter than the template's.
 */
export function copyOrder(
  { idLength, messages }: OrderTemplate,
  orderId: string,
  { timersAt }: { timersAt: Date },
): BatchEntry[] {
  if (orderId.length !== idLength) {
    throw new RangeError(`Cannot copy an order as ${orderId}: its id has ${idLength} characters`);
  }
  return messages.map(({ subject, headers, isTimer, data, ids }) => {
    const copy = Buffer.from(data);
    for (const at of ids) copy.write(orderId, at, "latin1");
    const lines = new HeaderLines(headers.join(orderId));
    if (isTimer) lines.set(SCHEDULE, `@at ${timersAt.toISOString()}`);
    return { subject: subject.join(orderId), headers: lines, data: copy };
  });
}

/**
 * `stored` with the messages that are in it no more, in the place where they were sent: the first message after the batch
 * that each was part of, or the end.
 */
export function withRemoved(stored: readonly Original[], removed: readonly Original[]): Original[] {
  const all = [...stored];
  for (const one of removed) {
    const batch = headerOf(one, "Nats-Batch-Id");
    const last = all.findLastIndex(
      (other) => batch !== undefined && headerOf(other, "Nats-Batch-Id") === batch,
    );
    all.splice(last + 1, 0, one);
  }
  return all;
}

function headerOf({ headers }: Original, wanted: string): string | undefined {
  return headers.find(([name]) => name === wanted)?.[1];
}
