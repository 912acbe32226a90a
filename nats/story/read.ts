import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type AboutOrder, readAboutOrder } from "../about_order.ts";
import { DEAD_LETTER_PREFIX, DEAD_LETTER_STREAM, type DeadLetter } from "../dead_letter.ts";
import { letterIn } from "../dead_letters.ts";
import { type Positions, readPositions } from "../positions.ts";
import { collect, viewStored } from "../read.ts";

/** Messages of one order that are shown: twenty times what the longest checkout has. Each may be as large as an order. */
export const MAX_ENTRIES = 1_000;

/** What a story is made from. */
export interface Sources {
  readonly streams: readonly AboutOrder[];
  /** Every change of every dead letter that was one of these messages, in stream order. */
  readonly letters: readonly DeadLetter[];
  /** How far the consumers were before any of it was read. */
  readonly positions: Positions;
  /** Whether there is more than this. */
  readonly more: boolean;
}

/** Asked with one request: the server answers it with 1,024 messages at most. */
const FILTERS_AT_ONCE = 100;

/**
 * Reads everything that the streams say about one order, and how far their consumers are. Two or three dozen requests,
 * whatever else the streams hold.
 *
 * @param orderId A single token.
 * @throws {Error} If a server does not answer: `isUnavailable()` knows it.
 */
export async function readSources(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  orderId: string,
): Promise<Sources> {
  // First: what is stored after this is under way, and not forgotten.
  const positions = await readPositions(jsm);
  const streams = await readAboutOrder(connection, orderId, { limit: MAX_ENTRIES });
  const filters = streams.flatMap(({ stream, messages }) =>
    messages.map(({ seq }) => `${DEAD_LETTER_PREFIX}.*.*.${stream}.${seq}`),
  );
  const subjects: string[] = [];
  for (let from = 0; from < filters.length; from += FILTERS_AT_ONCE) {
    const some = filters.slice(from, from + FILTERS_AT_ONCE);
    const last = await collect(`dead letters of ${orderId}`, (callback) =>
      jsm.direct.getLastMessagesFor(DEAD_LETTER_STREAM, { multi_last: some, callback }),
    );
    subjects.push(...last.map(({ subject }) => subject));
  }
  const letters: DeadLetter[] = [];
  let more = streams.some((part) => part.more);
  for (const subject of subjects) {
    const room = MAX_ENTRIES - letters.length;
    if (room > 0) letters.push(...(await changesOf(jsm, subject, room)));
    else more = true;
  }
  letters.sort((one, other) => one.seq - other.seq);
  return { streams, letters, positions, more };
}

/** All that became of one dead letter, `limit` changes at most. What is no letter is left out. */
async function changesOf(jsm: JetStreamManager, subject: string, limit: number): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for (let from = 1; letters.length < limit; ) {
    const page = await viewStored(jsm, DEAD_LETTER_STREAM, { subject, from, limit: limit - letters.length });
    letters.push(...page.flatMap((stored) => letterIn(stored) ?? []));
    const last = page.at(-1);
    // A page may be short of its limit; the end is an empty one.
    if (last === undefined) break;
    from = last.seq + 1;
  }
  return letters;
}
