import { LinkLostError, OpenLetters, orderCreated, readPage } from "../nats/mod.ts";
import type { Shop } from "./connect.ts";
import { type Ask, type OrderFilter, type Records, readRecords, streamOf } from "./export_records.ts";

export interface OrderPage extends Records {
  /** Messages that were looked at for it. */
  readonly looked: number;
}

/** The orders that there were when this was made. */
export interface Orders {
  /** Messages that will be looked at: of all kinds, orders for the most part. */
  readonly total: number;
  /** Each order once, in the order in which they were stored. In memory are the page at hand and the one after it. */
  pages(): AsyncGenerator<OrderPage>;
}

/**
 * An order is stored after it was placed, by clocks that may differ by so much: so far before a time are orders looked for
 * that were placed since then. How much later an order is stored, nobody promises (a ledger may have been copied), so that no
 * time ends the search.
 */
const CLOCKS_MS = 5 * 60_000;

/**
 * Reads the order service's ledger up to the message that is the last one now, and for each page of it what the other
 * ledgers hold last: a cut by which orders there are, not by what becomes of them meanwhile.
 *
 * It looks at every message of that ledger: nearly all of them are orders, and a filter costs the server more than it saves.
 *
 * @throws {Error} What `ask` throws, here and while pages are read.
 */
export async function openOrders(
  { connection, jsm }: Shop,
  { ask, ...filter }: OrderFilter & { ask: Ask },
): Promise<Orders> {
  const stream = streamOf(orderCreated);
  const letters = new OpenLetters(jsm);
  const { state } = await ask(() => jsm.streams.info(stream));
  const last = state.last_seq;
  let first = state.first_seq;
  let total = state.messages;
  if (filter.from !== undefined) {
    const since = new Date(filter.from.getTime() - CLOCKS_MS);
    const { messages, pending } = await ask(async () => {
      const page = await readPage(connection, stream, { since, limit: 1 });
      if (page.messages.length === 0 && Date.parse(state.last_ts) >= since.getTime()) throw behind(stream);
      return page;
    });
    first = messages[0]?.seq ?? last + 1;
    total = messages.length + pending;
  }

  const read = async (next: number) => {
    if (next > last) return undefined;
    const page = await ask(async () => {
      const { messages } = await readPage(connection, stream, { from: next });
      // The end, or a replica that is not as far as the others: the leader knows.
      if (messages.length === 0 && (await holds(next))) throw behind(stream);
      return messages;
    });
    const seq = page.at(-1)?.seq;
    if (seq === undefined) return undefined;
    const messages = page.filter((message) => message.seq <= last);
    const records = await readRecords(connection, messages, { filter, letters, ask });
    return { page: { ...records, looked: messages.length }, next: seq + 1 };
  };
  const holds = async (next: number) => {
    const question = { seq: next, next_by_subj: ">" };
    const message = await jsm.streams.getMessage(stream, question);
    return message !== null && message.seq <= last;
  };
  return {
    total,
    async *pages() {
      let reading = read(first);
      for (;;) {
        const found = await reading;
        if (found === undefined) return;
        reading = read(found.next);
        // What it fails with is thrown when it is waited for, which may never be.
        reading.catch(() => undefined);
        yield found.page;
      }
    },
  };
}

/** Another replica, or the same one a moment later, has it. */
function behind(stream: string): LinkLostError {
  return new LinkLostError(`Cannot read ${stream} to its end: the server that answers is behind the others`);
}
