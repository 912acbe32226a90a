import type { JetStreamManager } from "@nats-io/jetstream";
import { MAX_PAGE, viewStored } from "../../nats/mod.ts";
import type { Stored } from "./facts.ts";

interface Source {
  readonly stream: string;
  readonly subject: string;
  /** Messages that were read and not yet told, oldest first; `next` is the first of them. */
  page: Stored[];
  next: number;
  /** Sequence of the last message that was told. */
  told: number;
  /** Everything that was stored before this is read; Unix time in milliseconds. */
  readUpTo: number;
}

/**
 * Reads several streams side by side in the order in which their messages were stored, from their first message on, and
 * never the same twice. In memory is one page of each. What is stored at the same moment in two streams, or by clocks
 * that differ, may come in either order; within a stream the order is the stream's.
 */
export class Tail {
  readonly #jsm: JetStreamManager;
  readonly #sources: Source[];

  constructor(jsm: JetStreamManager, streams: readonly { name: string; prefix: string }[]) {
    this.#jsm = jsm;
    this.#sources = streams.map(({ name, prefix }) => ({
      stream: name,
      subject: `${prefix}.>`,
      page: [],
      next: 0,
      told: 0,
      readUpTo: 0,
    }));
  }

  /**
   * Reads on and tells what it can: until one of the streams has to be read further to know which message is next.
   * @returns How many messages were told. 0: there is nothing new.
   */
  async step(tell: (message: Stored) => void): Promise<number> {
    await Promise.all(this.#sources.map((source) => this.#fill(source)));
    // A stream that was read to its end is no reason to wait.
    const waitFor = this.#sources.filter((source) => source.page.length > 0);
    let count = 0;
    for (;;) {
      let first: Source | undefined;
      for (const source of waitFor) {
        const message = source.page[source.next];
        if (message === undefined) return count;
        const other = first?.page[first.next];
        if (other === undefined || message.time < other.time) first = source;
      }
      const message = first?.page[first.next];
      if (first === undefined || message === undefined) return count;
      tell(message);
      first.next += 1;
      first.told = message.seq;
      count += 1;
    }
  }

  /** Sequence up to which a stream was told; 0 for one that is not read. */
  position(stream: string): number {
    return this.#sources.find((source) => source.stream === stream)?.told ?? 0;
  }

  /** Everything that was stored before this moment has been told; Unix time in milliseconds. */
  get toldUpTo(): number {
    const moments = this.#sources.map(({ page, next, readUpTo }) => page[next]?.time.getTime() ?? readUpTo);
    return Math.min(...moments);
  }

  async #fill(source: Source): Promise<void> {
    if (source.next < source.page.length) return;
    const { stream, subject, told } = source;
    const now = Date.now();
    const stored = await viewStored(this.#jsm, stream, { subject, from: told + 1, limit: MAX_PAGE });
    source.page = stored.map(({ seq, subject, time, data, header }) => ({
      stream,
      seq,
      subject,
      time,
      data,
      partial: header.has("Nats-Batch-Id") && !header.has("Nats-Batch-Commit"),
    }));
    source.next = 0;
    source.readUpTo = stored.at(-1)?.time.getTime() ?? now;
  }
}
