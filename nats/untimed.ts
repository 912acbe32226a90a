import type { MessageShape } from "@bufbuild/protobuf";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type Contract, decode, splitSubject, subjectOf } from "./contracts/contract.ts";
import { readLasts, readPage, type StoredMessage } from "./pages.ts";
import { MAX_PAGE } from "./read.ts";

/** What to look for: entities that are live and that nobody will wake up. */
export interface UntimedOptions<C extends Contract> {
  readonly stream: string;
  /** Their states, and the timers that each of them has while it is live, under the same id. */
  readonly state: C;
  readonly timer: Contract;
  /** Whether a state needs a timer. One that cannot be decoded is left out: it is reported by who reads it. */
  readonly isLive: (state: MessageShape<C["schema"]>) => boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * How far back it looks: messages of the stream, all kinds counted. A timer is lost when a server is killed in the middle of a
 * commit or a person removes it, which is told soon after. What is older, the reconciler finds.
 */
export const MAX_LOOK_BACK = 100_000;

/**
 * Ids of the entities whose last state is live and that have no timer. Timers are the index of what is live (ADR 4), so that
 * nobody else finds them. Reads the states among the last {@linkcode MAX_LOOK_BACK} messages of the stream, by Direct Get: what
 * it costs does not depend on the history. May be a moment old; decide on the state.
 *
 * @throws {Error} If the server does not answer.
 */
export async function findUntimed<C extends Contract>(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  { stream, state, timer, isLive, signal }: UntimedOptions<C>,
): Promise<string[]> {
  const { state: size } = await jsm.streams.info(stream);
  const lasts = new Map<string, StoredMessage>();
  for (let from = Math.max(1, size.last_seq - MAX_LOOK_BACK); signal?.aborted !== true; ) {
    const { messages, pending } = await readPage(connection, stream, { subject: `${state.subject}.>`, from });
    for (const message of messages) lasts.set(splitSubject(message.subject).id, message);
    const last = messages.at(-1);
    if (last === undefined || pending === 0) break;
    from = last.seq + 1;
  }
  const live = [...lasts].filter(([, { data }]) => {
    const value = decoded(state, data);
    return value !== undefined && isLive(value);
  });
  const untimed: string[] = [];
  for (let from = 0; from < live.length; from += MAX_PAGE) {
    const ids = live.slice(from, from + MAX_PAGE).map(([id]) => id);
    const timers = await readLasts(
      connection,
      stream,
      ids.map((id) => subjectOf(timer, id)),
    );
    untimed.push(...ids.filter((id) => !timers.has(subjectOf(timer, id))));
  }
  return untimed;
}

function decoded<C extends Contract>(contract: C, data: Uint8Array): MessageShape<C["schema"]> | undefined {
  try {
    return decode(contract, data) as MessageShape<C["schema"]>;
  } catch {
    return undefined;
  }
}
