import type { NatsConnection } from "@nats-io/transport-node";
import { MAX_PAGE, type Page, readPage, type StoredMessage } from "../../nats/mod.ts";

interface Source {
  readonly stream: string;
  /** What was read last, oldest first; `next` is the first that was not told yet. */
  page: readonly StoredMessage[];
  next: number;
  /** Messages of this round that are still to be read. */
  left: number;
  /** Sequence of the last message that was told. */
  told: number;
}

/**
 * Reads several streams side by side in the order in which their messages were stored, from their first message on, and
 * never the same twice. In memory is one page of each. What is stored at the same moment in two streams, or by clocks
 * that differ, may come in either order; within a stream the order is the stream's.
 *
 * It goes in rounds: what the streams hold when a round begins is told in it, all of it, and nothing else.
 */
export class Tail {
  readonly #connection: NatsConnection;
  readonly #sources: Source[];
  /** When the round began; Unix time in milliseconds. */
  #began = 0;

  constructor(connection: NatsConnection, streams: readonly { name: string }[]) {
    this.#connection = connection;
    this.#sources = streams.map(({ name }) => ({ stream: name, page: [], next: 0, left: 0, told: 0 }));
  }

  /** Whether a round has come to its end: the next step begins another one. */
  get caughtUp(): boolean {
    return this.#sources.every((source) => isTold(source) && source.left === 0);
  }

  /**
   * Reads on and tells what it can: until one of the streams has to be read further to know which message is next.
   * @returns How many messages were told. 0: there is nothing new.
   */
  async step(tell: (message: StoredMessage, stream: string) => void): Promise<number> {
    await (this.caughtUp ? this.#begin() : this.#readOn());
    let count = 0;
    for (;;) {
      let first: Source | undefined;
      let message: StoredMessage | undefined;
      for (const source of this.#sources) {
        const candidate = source.page[source.next];
        if (candidate === undefined) {
          if (source.left > 0) return count;
        } else if (message === undefined || candidate.timeMs < message.timeMs) {
          first = source;
          message = candidate;
        }
      }
      if (first === undefined || message === undefined) return count;
      tell(message, first.stream);
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
    const moments = this.#sources.map(({ page, next, left }) => {
      const message = page[next] ?? (left > 0 ? page.at(-1) : undefined);
      return message?.timeMs ?? this.#began;
    });
    return Math.min(...moments);
  }

  async #begin(): Promise<void> {
    const now = Date.now();
    const pages = await Promise.all(this.#sources.map((source) => this.#read(source, MAX_PAGE)));
    // Not before all are read: of a round that could not begin, nothing is told.
    for (const [index, source] of this.#sources.entries()) take(source, pages[index], pages[index]?.pending);
    this.#began = now;
  }

  async #readOn(): Promise<void> {
    const due = this.#sources.filter((source) => isTold(source) && source.left > 0);
    const pages = await Promise.all(due.map((source) => this.#read(source, source.left)));
    for (const [index, source] of due.entries()) {
      const read = pages[index]?.messages.length ?? 0;
      // An empty page is the end, whatever was promised: messages may be removed.
      take(source, pages[index], read === 0 ? 0 : source.left - read);
    }
  }

  #read({ stream, told }: Source, limit: number): Promise<Page> {
    return readPage(this.#connection, stream, { from: told + 1, limit });
  }
}

function isTold({ page, next }: Source): boolean {
  return next >= page.length;
}

function take(source: Source, page: Page | undefined, left = 0): void {
  source.page = page?.messages ?? [];
  source.next = 0;
  source.left = left;
}
