import { setInterval } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "pino";
import {
  checkoutState,
  checkoutTimer,
  deadlinePassed,
  decode,
  findUntimed,
  key,
  type Ledger,
  MAX_PAGE,
  newTrace,
  type Outgoing,
  splitSubject,
  subjectOf,
  UnreadableStateError,
  viewMany,
  viewStored,
} from "../../nats/mod.ts";
import { type Deadlines, isEnd, rearm, timerOf } from "./decide.ts";
import { checkoutOf, expire, isOverdue } from "./handlers.ts";
import type { Checkout } from "./messages.ts";

export interface SweepOptions {
  connection: NatsConnection;
  jsm: JetStreamManager;
  ledger: Ledger;
  log: Pick<Logger, "warn" | "error">;
  deadlines: Deadlines;
  signal: AbortSignal;
  /** Resolves when the answers that wait to be read have been handled: they come before a deadline. Default: at once. */
  caughtUp?: (signal: AbortSignal) => Promise<void>;
  /** How far back timers that fired are looked after, in milliseconds. Default 90,000. */
  lookBackMs?: number;
  /** Told how many live checkouts had no timer, for metrics. */
  onUntimed?: (count: number) => void;
}

/** A timer that is this late did not fire, or its message is not getting through. */
const GRACE_MS = 5_000;
/** A timer that fired is looked after by so many sweeps. After that, monitor tells people. */
const SWEEPS = 3;
const LOOK_BACK_MS = 90_000;
/** Of so many sweeps, the first looks for checkouts that have lost their timer: it reads many states. */
const UNTIMED_EVERY = 20;

/**
 * Sweeps every `everyMs` until `signal` aborts, and then resolves at once, whatever the server is at. A sweep that fails
 * is reported and the next one tries again.
 */
export async function sweepRegularly(options: SweepOptions & { everyMs: number }): Promise<void> {
  const { everyMs, signal, log } = options;
  const lookBackMs = GRACE_MS + SWEEPS * everyMs;
  const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => abort());
  let sweeps = 0;
  try {
    for await (const _ of setInterval(everyMs, undefined, { signal })) {
      const sweeping = async () => {
        const now = new Date();
        const found = await sweep({ lookBackMs, ...options }, now);
        if (sweeps++ % UNTIMED_EVERY === 0) await sweepUntimed(options, now);
        return found;
      };
      const swept = sweeping().then(
        (found) => {
          if (found > 0) log.warn({ overdue: found }, "the sweep found checkouts past their deadline");
        },
        (cause) => {
          if (!signal.aborted) log.error({ err: cause }, "cannot sweep, trying again");
        },
      );
      await Promise.race([swept, aborted]);
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
  }
}

/**
 * Moves every checkout on that is past its deadline, without relying on a timer to fire, or on its message to get through.
 * Every live checkout has its schedule message in the ledger, for its deadline or before: those are the list of what is
 * live, so that a sweep costs by the live checkouts and not by the history. One that fired is not among them any more
 * until it was handled: those of late are looked at, too. The decision itself is made on the state. A checkout that cannot
 * be moved on is reported and holds up no other.
 *
 * @returns How many checkouts were overdue.
 * @throws {Error} If the server does not answer.
 */
export async function sweep(options: SweepOptions, now: Date): Promise<number> {
  const { signal, caughtUp } = options;
  let overdue = 0;
  for (const timers of [waitingTimers, firedTimers]) {
    for await (const late of timers(options, now)) {
      if (late.length > 0) await caughtUp?.(signal);
      // Together, so that they share commits.
      const moved = await Promise.all(late.map((orderId) => moveOn(orderId, options, now)));
      overdue += moved.filter(Boolean).length;
    }
  }
  return overdue;
}

/**
 * Sets the timer anew of checkouts that are live and have lost theirs, which no timer would ever wake up: half of a commit was
 * stored, or somebody has removed it. One whose deadline has passed is moved on.
 *
 * @returns How many there were.
 * @throws {Error} If the server does not answer.
 */
export async function sweepUntimed(options: SweepOptions, now: Date): Promise<number> {
  const { connection, jsm, ledger, log, signal, onUntimed } = options;
  const { stream } = ledger;
  const found = await findUntimed(
    { connection, jsm },
    { stream, state: checkoutState, timer: checkoutTimer, isLive: ({ state }) => !isEnd(state), signal },
  );
  // A timer that has just fired is none any more, and its message is on its way.
  const checkouts = await viewMany(
    jsm,
    stream,
    found.map((orderId) => key(checkoutState, orderId)),
  );
  const untimed = found.filter((_, index) => {
    const set = checkouts[index] && timerOf(checkouts[index]);
    return set === undefined || timestampMs(set) > now.getTime() || hasLateTimer(checkouts[index], now);
  });
  onUntimed?.(untimed.length);
  if (untimed.length > 0)
    log.warn({ order_ids: untimed.slice(0, 20), count: untimed.length }, "live checkouts had no timer");
  await Promise.all(untimed.map((orderId) => moveOn(orderId, options, now, { untimed: true })));
  return untimed.length;
}

/**
 * What a sweep does about a checkout: it expires one whose deadline has passed, and sets the timer anew of one that has
 * time left and no timer that will fire.
 * @param options.untimed Whether it is known to have none, whatever its state says. Default false.
 */
export function sweepOne(
  checkout: Checkout | undefined,
  now: Date,
  deadlines: Deadlines,
  { untimed = false }: { untimed?: boolean } = {},
): Outgoing[] {
  if (checkout === undefined) return [];
  if (isOverdue(checkout, now)) return expire(checkout, now, deadlines);
  return untimed || hasLateTimer(checkout, now) ? rearm(checkout) : [];
}

/** Orders whose timers are there and should have fired, page by page. */
async function* waitingTimers(options: SweepOptions, now: Date): AsyncGenerator<string[]> {
  for await (const page of pages(options, { subject: `${checkoutTimer.subject}.>` })) {
    yield page.filter(({ data }) => isLate(data, now)).map(orderOf);
  }
}

/** Orders whose timers have fired and not been handled: the message waits in line, or was given up. */
async function* firedTimers(options: SweepOptions, now: Date): AsyncGenerator<string[]> {
  const { jsm, ledger, lookBackMs = LOOK_BACK_MS } = options;
  const since = new Date(now.getTime() - lookBackMs);
  for await (const page of pages(options, { subject: `${deadlinePassed.subject}.>`, since })) {
    const orderIds = [...new Set(page.map(orderOf))];
    const keys = orderIds.map((orderId) => key(checkoutState, orderId));
    try {
      const checkouts = await viewMany(jsm, ledger.stream, keys);
      yield orderIds.filter((_, index) => hasLateTimer(checkouts[index], now));
    } catch (cause) {
      if (!(cause instanceof UnreadableStateError)) throw cause;
      // One of them; it is reported when it is looked at by itself.
      yield orderIds;
    }
  }
}

async function* pages(
  { jsm, ledger, signal }: SweepOptions,
  { subject, since }: { subject: string; since?: Date },
): AsyncGenerator<StoredMsg[]> {
  for (let from: number | undefined; !signal.aborted; ) {
    const page = await viewStored(jsm, ledger.stream, { subject, from, since, limit: MAX_PAGE });
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    from = last.seq + 1;
  }
}

function orderOf({ subject }: StoredMsg): string {
  return splitSubject(subject).id;
}

/** A timer that cannot be read does not say when: its state does. */
function isLate(timer: Uint8Array, now: Date): boolean {
  try {
    const { deadline } = decode(checkoutTimer, timer);
    return deadline !== undefined && timestampMs(deadline) + GRACE_MS <= now.getTime();
  } catch {
    return true;
  }
}

function hasLateTimer(checkout: Parameters<typeof timerOf>[0] | undefined, now: Date): boolean {
  const set = checkout && timerOf(checkout);
  return set !== undefined && timestampMs(set) + GRACE_MS <= now.getTime();
}

/** @returns Whether it was overdue. */
async function moveOn(
  orderId: string,
  { ledger, deadlines, signal, log }: SweepOptions,
  now: Date,
  options: { untimed?: boolean } = {},
): Promise<boolean> {
  const task = {
    keys: [key(checkoutState, orderId)],
    trace: newTrace(),
    continues: subjectOf(checkoutState, orderId),
    decide(view: Parameters<typeof checkoutOf>[0]) {
      const checkout = checkoutOf(view, orderId);
      const messages = sweepOne(checkout, now, deadlines, options);
      return { messages, result: messages.length > 0 && isOverdue(checkout, now) };
    },
  };
  try {
    return await ledger.execute(task, { signal });
  } catch (cause) {
    if (!signal.aborted) log.error({ err: cause, order_id: orderId }, "cannot move an overdue checkout on");
    return false;
  }
}
