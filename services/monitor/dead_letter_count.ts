import type { JetStreamManager } from "@nats-io/jetstream";
import {
  DEAD_LETTER_PREFIX,
  DEAD_LETTER_STREAM,
  MAX_PAGE,
  readLetter,
  topology,
  viewStored,
} from "../../nats/mod.ts";

/** How many dead letters wait for somebody, by service. Reads each change once; in memory are the ids of those that wait. */
export class DeadLetterCount {
  readonly #jsm: JetStreamManager;
  readonly #parked = new Map<string, Set<string>>();
  #from = 1;

  constructor(jsm: JetStreamManager) {
    this.#jsm = jsm;
    for (const { service } of topology.consumers) this.#parked.set(service, new Set());
  }

  get byService(): [service: string, count: number][] {
    return [...this.#parked].map(([service, ids]) => [service, ids.size]);
  }

  /** Counts what has changed since the last time. */
  async update(): Promise<void> {
    for (;;) {
      const subject = `${DEAD_LETTER_PREFIX}.>`;
      const page = await viewStored(this.#jsm, DEAD_LETTER_STREAM, {
        subject,
        from: this.#from,
        limit: MAX_PAGE,
      });
      for (const { seq, subject, time, header: headers, data } of page) {
        this.#from = seq + 1;
        this.#count({ seq, subject, time, headers, data });
      }
      if (page.length === 0) return;
    }
  }

  #count(stored: Parameters<typeof readLetter>[0]): void {
    let letter: ReturnType<typeof readLetter>;
    try {
      letter = readLetter(stored);
    } catch (cause) {
      // Whatever else is in the stream waits for nobody.
      if (cause instanceof TypeError) return;
      throw cause;
    }
    const ids = this.#parked.get(letter.service) ?? new Set();
    if (letter.status === "parked") ids.add(letter.id);
    else ids.delete(letter.id);
    this.#parked.set(letter.service, ids);
  }
}
