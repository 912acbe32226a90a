import type { JetStreamManager } from "@nats-io/jetstream";
import { aboutOrder } from "./about_order.ts";
import { isAwaited } from "./awaited.ts";
import { DEAD_LETTER_PREFIX, DEAD_LETTER_STREAM, type DeadLetter } from "./dead_letter.ts";
import { letterIn } from "./dead_letters.ts";
import { MAX_PAGE, viewStored } from "./read.ts";
import { topology as shop, type Topology } from "./topology.ts";

/** A dead letter that its service has not handled since: nothing of the message's payload and headers. */
export type OpenLetter = Pick<
  DeadLetter,
  | "id"
  | "seq"
  | "status"
  | "service"
  | "type"
  | "stream"
  | "sequence"
  | "subject"
  | "parkedAt"
  | "by"
  | "note"
>;

/** Open letters in memory, half a kilobyte each. More are counted only: then all is wrong, and a list of it helps nobody. */
const MAX_OPEN = 100_000;
/** How old an answer may be: a client that waits for an order asks again in about a second. */
const FRESH_MS = 1_000;

/**
 * The dead letters that were not handled since they were parked, by the order that they are about. Reads each change in the
 * stream once: the first look costs by the history, the others by what is new.
 */
export class OpenLetters {
  readonly #jsm: JetStreamManager;
  readonly #parked = new Map<string, Set<string>>();
  readonly #open = new Map<string, OpenLetter>();
  readonly #byOrder = new Map<string, Set<string>>();
  #from = 1;
  /** The last message that was read, by which it is known that the stream is still the same. */
  #last: { seq: number; timeMs: number } | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  /** @param options.topology Whose services are counted though they have parked nothing. Default: the shop's. */
  constructor(jsm: JetStreamManager, { topology = shop }: { topology?: Topology } = {}) {
    this.#jsm = jsm;
    for (const { service } of topology.consumers) this.#parked.set(service, new Set());
  }

  /** How many letters of each service wait for somebody. */
  get parkedBy(): [service: string, count: number][] {
    return [...this.#parked].map(([service, ids]) => [service, ids.size]);
  }

  /** Orders that open letters are about, the one with the oldest letter first. */
  get orderIds(): Iterable<string> {
    return this.#byOrder.keys();
  }

  /** Open letters about an order, the oldest first. */
  of(orderId: string): OpenLetter[] {
    return [...(this.#byOrder.get(orderId) ?? [])].flatMap((id) => this.#open.get(id) ?? []);
  }

  /**
   * The letters that hold an order up which is in a state: it waits for these messages, and nobody will handle them unless
   * somebody redrives them. Of one that was discarded nobody will at all.
   */
  holding(order: { orderId: string; state: string }): OpenLetter[] {
    return this.of(order.orderId).filter((letter) => holdsUp(letter, order.state));
  }

  /** Reads what has changed. Calls that come while it reads share what it finds. */
  update(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** As {@linkcode update}, unless that was done a moment ago. */
  async refresh(): Promise<void> {
    if (performance.now() - this.#readAt > FRESH_MS) await this.update();
  }

  async #read(): Promise<void> {
    const began = performance.now();
    const subject = `${DEAD_LETTER_PREFIX}.>`;
    if (!(await this.#isSame())) this.#forget();
    for (;;) {
      const page = await viewStored(this.#jsm, DEAD_LETTER_STREAM, {
        subject,
        from: this.#from,
        limit: MAX_PAGE,
      });
      for (const stored of page) {
        this.#from = stored.seq + 1;
        this.#last = { seq: stored.seq, timeMs: stored.time.getTime() };
        // Whatever else is in the stream waits for nobody.
        const letter = letterIn(stored);
        if (letter !== undefined) this.#take(letter);
      }
      if (page.length === 0) break;
    }
    this.#readAt = began;
  }

  /** Whether the stream has what was read last: one that was restored from a backup, or made again, has not. */
  async #isSame(): Promise<boolean> {
    if (this.#last === undefined) return true;
    const { seq, timeMs } = this.#last;
    const stored = await this.#jsm.direct.getMessage(DEAD_LETTER_STREAM, { seq });
    return stored?.time.getTime() === timeMs;
  }

  #forget(): void {
    this.#from = 1;
    this.#last = undefined;
    this.#open.clear();
    this.#byOrder.clear();
    for (const ids of this.#parked.values()) ids.clear();
  }

  #take(letter: DeadLetter): void {
    const { id, seq, status, service, type, stream, sequence, subject, parkedAt, by, note } = letter;
    const parked = this.#parked.get(service) ?? new Set();
    if (status === "parked") parked.add(id);
    else parked.delete(id);
    this.#parked.set(service, parked);
    const orderId = aboutOrder(subject)?.orderId;
    if (orderId === undefined) return;
    if (status === "handled") {
      this.#open.delete(id);
      const own = this.#byOrder.get(orderId);
      own?.delete(id);
      if (own?.size === 0) this.#byOrder.delete(orderId);
    } else if (this.#open.has(id) || this.#open.size < MAX_OPEN) {
      this.#open.set(id, { id, seq, status, service, type, stream, sequence, subject, parkedAt, by, note });
      const own = this.#byOrder.get(orderId) ?? new Set();
      this.#byOrder.set(orderId, own.add(id));
    }
  }
}

/** Whether an order in a state stays there for this letter. */
export function holdsUp(
  { status, ...letter }: Pick<OpenLetter, "status" | "service" | "subject">,
  state: string,
) {
  return (status === "parked" || status === "discarded") && isAwaited(state, letter);
}
