import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type ConsumerLag,
  type Contract,
  checkoutState,
  checkoutTimer,
  deadlinePassed,
  key,
  MAX_PAGE,
  OpenLetters,
  readPage,
  readStuck,
  splitSubject,
  viewReadable,
} from "../../nats/mod.ts";

/** States of a checkout that is stored and has not ended. */
export const liveStates = [
  "reserving",
  "screening",
  "in_review",
  "charging",
  "fulfilling",
  "refunding",
  "releasing",
] as const;

/** What the checkouts in one state have in common. */
export interface InState {
  readonly count: number;
  /** How long the one that has been in it longest has been; 0 if there is none. */
  readonly oldestSeconds: number;
}

/** The checkouts that have not ended, as they were a moment ago. */
export interface Live {
  /** All of {@linkcode liveStates}, and whatever else there is as `other`. */
  readonly states: ReadonlyMap<string, InState>;
  /** Those whose deadline has passed. */
  readonly overdue: number;
  /** Orders that dead letters hold up. */
  readonly stuck: number;
  /** Those of them that cannot begin, and are in no state above. */
  readonly notBegun: number;
  /** Timers beyond {@linkcode MAX_LOOKED_AT}, whose checkouts are in no state above. */
  readonly unseen: number;
}

/**
 * Checkouts that are looked at, those first whose timers were set first. Ten pages of timers and ten to twenty of states,
 * 0.7 s in all on two cores: more would take the server's time from the orders.
 */
export const MAX_LOOKED_AT = 10_000;

const STREAM = "CHECKOUT";

/**
 * Looks at every checkout that has a timer message (ADR 4), and at those whose timer has fired and not been handled: a page
 * of each and one of their states for a thousand of them. It costs by the orders that are under way, whatever the history,
 * and by {@linkcode MAX_LOOKED_AT} at most.
 *
 * @param options.letters Which dead letters are open. Handed in again with the next look, it reads only what is new. Default: all
 * are read.
 * @param options.lags What was just read of the consumers: how far the coordinator has handled timers.
 * @throws {Error} If the server does not answer.
 */
export async function readLive(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  {
    lags,
    letters = new OpenLetters(jsm),
    now = Date.now(),
  }: { lags: readonly ConsumerLag[]; letters?: OpenLetters; now?: number },
): Promise<Live> {
  const waiting = await idsOf(connection, checkoutTimer, 1);
  const timers = lags.find(({ stream, consumer }) => stream === STREAM && consumer === "coordinator");
  const fired = await idsOf(connection, deadlinePassed, (timers?.ackFloor ?? 0) + 1);
  const all = [...new Set([...fired.ids, ...waiting.ids])];
  const ids = all.slice(0, MAX_LOOKED_AT);
  const states = new Map<string, InState>(
    [...liveStates, "other"].map((state) => [state, { count: 0, oldestSeconds: 0 }]),
  );
  let overdue = 0;
  for (let from = 0; from < ids.length; from += MAX_PAGE) {
    const keys = ids.slice(from, from + MAX_PAGE).map((id) => key(checkoutState, id));
    for (const checkout of await viewReadable(jsm, STREAM, keys)) {
      // What nobody can read is the reconciler's to report.
      if (checkout === "unreadable") continue;
      // A timer that is unhandled may be that of a checkout which has ended since.
      if (checkout?.deadline === undefined) continue;
      const state = states.has(checkout.state) ? checkout.state : "other";
      const entered = checkout.history.at(-1)?.at;
      const seconds = entered === undefined ? 0 : Math.max(0, now - timestampMs(entered)) / 1_000;
      const { count, oldestSeconds } = states.get(state) ?? { count: 0, oldestSeconds: 0 };
      states.set(state, { count: count + 1, oldestSeconds: Math.max(oldestSeconds, seconds) });
      if (timestampMs(checkout.deadline) <= now) overdue += 1;
    }
  }
  const stuck = await readStuck(jsm, letters);
  const notBegun = stuck.filter(({ state }) => state === "created").length;
  const held = { stuck: stuck.length, notBegun };
  return { states, overdue, ...held, unseen: waiting.beyond + fired.beyond + all.length - ids.length };
}

/** Ids of the contract's messages from a sequence on, and how many there are beyond the limit. */
async function idsOf(
  connection: NatsConnection,
  { subject }: Contract,
  from: number,
): Promise<{ ids: string[]; beyond: number }> {
  const ids: string[] = [];
  for (let next = from; ; ) {
    const { messages, pending } = await readPage(connection, STREAM, {
      subject: `${subject}.>`,
      from: next,
      limit: Math.min(MAX_PAGE, MAX_LOOKED_AT - ids.length),
    });
    for (const message of messages) ids.push(splitSubject(message.subject).id);
    const last = messages.at(-1);
    if (last === undefined || pending === 0) return { ids, beyond: 0 };
    if (ids.length >= MAX_LOOKED_AT) return { ids, beyond: pending };
    next = last.seq + 1;
  }
}
