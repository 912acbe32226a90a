import type { ConsumerInfo, JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { type ConsumerName, nameOf } from "./consumer_name.ts";
import { DEAD_LETTER_PREFIX, DEAD_LETTER_STREAM, type DeadLetter, readLetter } from "./dead_letter.ts";
import { pause } from "./pause.ts";
import { MAX_PAGE, viewStored } from "./read.ts";
import { MAX_PARKED, type ReplayMark, readReplayMark, writeReplayMark } from "./replay_mark.ts";
import { ReplayError, type ReplayPlan, type ReplaySource } from "./replay_plan.ts";
import { MARK_TRUST_MS } from "./replays.ts";

/** What is being done, for whoever watches. */
export type ReplayStep =
  | { readonly kind: "paused"; readonly consumers: readonly string[] }
  | { readonly kind: "under way"; readonly messages: number }
  | { readonly kind: "marked"; readonly consumer: string; readonly upTo: number; readonly underWay: number }
  | { readonly kind: "waiting"; readonly elapsedMs: number; readonly ofMs: number }
  | { readonly kind: "reset"; readonly consumer: string; readonly from: number }
  | { readonly kind: "resumed"; readonly consumers: readonly string[] };

/** How long each part may take, in milliseconds. Tests of what is decided on the way set less. */
export interface ReplayTimes {
  /** A consumer is paused for so long at most. Default {@linkcode REPLAY_PAUSE_MS}. */
  readonly pauseMs?: number | undefined;
  /** What is under way has this to be acknowledged. Default 10,000. */
  readonly underWayMs?: number | undefined;
  /** Longer than any process trusts a mark that it has read. Default {@linkcode REPLAY_WAIT_MS}. */
  readonly waitMs?: number | undefined;
}

export interface ReplayOptions extends ReplayTimes {
  /** Who does it, as it is recorded. */
  readonly by: string;
  /** Ends it before the first reset; after that it is a matter of milliseconds. */
  readonly signal: AbortSignal;
  readonly onStep?: (step: ReplayStep) => void;
}

/** `replayed`: each consumer gets its messages again from now on. `interrupted`: nothing was reset. */
export type ReplayOutcome =
  | { readonly kind: "replayed"; readonly consumers: readonly ReplayedConsumer[] }
  | { readonly kind: "interrupted" };

export interface ReplayedConsumer extends ConsumerName {
  readonly from: number;
  /** Up to this, deliveries are replays. */
  readonly upTo: number;
  /** Messages that were under way, and are handled as always. */
  readonly underWay: number;
}

/** A consumer is paused for so long at most: whoever is killed leaves none paused for longer. */
export const REPLAY_PAUSE_MS = 60_000;
/** What is under way has this to be acknowledged: `ack_wait`, after which it would be delivered again. */
const UNDER_WAY_MS = 10_000;
/** Longer than any process trusts a mark that it has read. */
export const REPLAY_WAIT_MS = MARK_TRUST_MS + 1_000;
/**
 * Of the pause, what is left for the resets: a quarter, 15 s of a minute, as a request may take 5 s. A replay that stood still
 * for too long has to begin anew.
 */
const RESET_MARGIN = 1 / 4;
const POLL_MS = 100;
/** How often somebody who waits is told. */
const TELL_MS = 1_000;

/**
 * Delivers messages again to durable consumers, those of each plan from `from` on, so that whoever takes them knows which are
 * replays.
 *
 * What the server does (2.15, tried: `nats/replay_test.ts`). **Reset** to a sequence sets what is delivered and
 * acknowledged back to the one before it. Delivery counts begin at 1 again, and what was delivered and not acknowledged is
 * forgotten; what comes at or after the sequence is delivered again, and a late acknowledgement of an old delivery settles
 * a new one that is out, or nothing. Pulls that are open stay open, and get what is replayed. A pause, the filter and the rest
 * of the configuration stay. To a sequence before the ack floor it is a replay; after it, messages would be left out.
 * **Pause** ends deliveries, also of what was given back or waited for too long; acknowledgements are taken, and pulls wait. It
 * ends by itself, and outlives a restart of the server.
 *
 * The order of the steps, and what it means if this process is killed after each:
 *
 * 1. The marks are read, then each consumer is **paused**, unless it is paused: by somebody else's replay, for example. Killed:
 *    the pause ends by itself, everything goes on where it was.
 * 2. What is **under way** has some time to be acknowledged. What is not is no replay, comes again, and is handled as always.
 * 3. The **mark** is written: up to the ack floor, deliveries are replays. The pause is why the floor stays what it is but for
 *    what is under way. Guarded by what was read in 1, so that of two replays at once one ends here. Killed: nothing up to
 *    the floor is delivered without a reset, so that the mark touches nothing.
 * 4. It **waits** for longer than any process trusts what it has read, so that whoever gets a replay knows the mark: those who
 *    pull now, those who stand still, those who are started meanwhile. Killed: as before.
 * 5. **Reset**. Had it come before the wait, a charge might be taken for a new one. Killed: it is a replay under way, and goes
 *    on when the pause ends.
 * 6. **Resume**.
 *
 * @throws {ReplayError} If a consumer is paused, somebody else replays it, or it took too long. Nothing was reset.
 * @throws {Error} If the server does not answer. Doing it again is safe.
 */
export async function replay(
  source: ReplaySource,
  plans: readonly ReplayPlan[],
  options: ReplayOptions,
): Promise<ReplayOutcome> {
  const { connection, jsm } = source;
  const { signal, onStep = () => undefined } = options;
  const { pauseMs = REPLAY_PAUSE_MS, underWayMs = UNDER_WAY_MS, waitMs = REPLAY_WAIT_MS } = options;
  const began = performance.now();
  const targets = plans.map(({ spec: { stream, service: name }, from }) => ({ stream, name, from }));
  const before = await Promise.all(targets.map((target) => readReplayMark(connection, target)));
  const infos = await Promise.all(targets.map(({ stream, name }) => jsm.consumers.info(stream, name)));
  for (const info of infos) refuseIfPaused(info);
  const paused: ConsumerName[] = [];
  try {
    for (const [index, target] of targets.entries()) {
      paused.push(target);
      await jsm.consumers.pause(target.stream, target.name, pauseEnd(infos[index], pauseMs));
    }
    onStep({ kind: "paused", consumers: paused.map(nameOf) });
    const last = await untilNothingIsUnderWay(jsm, targets, { signal, onStep, underWayMs });
    const done: ReplayedConsumer[] = [];
    for (const [index, target] of targets.entries()) {
      if (signal.aborted) return { kind: "interrupted" };
      const info = last[index] as ConsumerInfo;
      const { seq: expect, mark: earlier } = before[index] ?? { seq: 0, mark: undefined };
      const mark = await makeMark(jsm, target, { info, earlier, by: options.by });
      const stored = await writeReplayMark(connection, target, { mark, expect });
      if (stored.kind === "conflict") {
        // From here on the pauses are, or may become, the other's as well: consumers are marked in one order.
        paused.splice(index);
        throw new ReplayError(`Cannot replay ${nameOf(target)}: somebody else replays it right now`);
      }
      if (stored.kind !== "committed") {
        throw new ReplayError(
          `Cannot replay ${nameOf(target)}: no mark was stored: ${JSON.stringify(stored)}`,
        );
      }
      const underWay = info.num_ack_pending;
      done.push({ stream: target.stream, name: target.name, from: target.from, upTo: mark.up_to, underWay });
      onStep({ kind: "marked", consumer: nameOf(target), upTo: mark.up_to, underWay });
    }
    await waitUntilKnown({ signal, onStep, waitMs });
    if (signal.aborted) return { kind: "interrupted" };
    if (performance.now() - began > pauseMs * (1 - RESET_MARGIN)) {
      throw new ReplayError(
        "Cannot replay: it stood still for too long, and the pause is nearly over; try again",
      );
    }
    for (const target of targets) {
      const { paused: stillPaused } = await jsm.consumers.info(target.stream, target.name);
      if (stillPaused !== true)
        throw new ReplayError(
          `Cannot replay ${nameOf(target)}: somebody has resumed it meanwhile; try again`,
        );
    }
    for (const target of targets) {
      await jsm.consumers.reset(target.stream, target.name, target.from);
      onStep({ kind: "reset", consumer: nameOf(target), from: target.from });
    }
    return { kind: "replayed", consumers: done };
  } finally {
    await resume(jsm, paused, { onStep });
  }
}

function refuseIfPaused({ stream_name: stream, name, paused, config }: ConsumerInfo): void {
  if (paused !== true) return;
  throw new ReplayError(
    `Cannot replay ${nameOf({ stream, name })}: it is paused until ${config.pause_until}, by another replay or by hand; try again then`,
  );
}

/** By the server's clock, which may differ from this machine's. */
function pauseEnd(info: ConsumerInfo | undefined, pauseMs: number): Date {
  const now = Date.parse((info as { ts?: string } | undefined)?.ts ?? "");
  return new Date((Number.isNaN(now) ? Date.now() : now) + pauseMs);
}

/** Resolves with what the consumers look like when all is acknowledged, or there was time enough for it. */
async function untilNothingIsUnderWay(
  jsm: JetStreamManager,
  targets: readonly ConsumerName[],
  { signal, onStep, underWayMs }: { signal: AbortSignal; onStep(step: ReplayStep): void; underWayMs: number },
): Promise<ConsumerInfo[]> {
  const deadline = performance.now() + underWayMs;
  for (let told = Number.NEGATIVE_INFINITY; ; ) {
    const infos = await Promise.all(targets.map(({ stream, name }) => jsm.consumers.info(stream, name)));
    const messages = infos.reduce((sum, { num_ack_pending }) => sum + num_ack_pending, 0);
    if (messages === 0 || performance.now() > deadline || signal.aborted) return infos;
    if (performance.now() - told > TELL_MS) {
      told = performance.now();
      onStep({ kind: "under way", messages });
    }
    await pause(POLL_MS, signal);
  }
}

async function makeMark(
  jsm: JetStreamManager,
  target: ConsumerName & { from: number },
  { info, earlier, by }: { info: ConsumerInfo; earlier: ReplayMark | undefined; by: string },
): Promise<ReplayMark> {
  // While an earlier replay goes on, the floor is somewhere in it.
  const upTo = Math.max(earlier?.up_to ?? 0, info.ack_floor.stream_seq);
  const { state } = await jsm.streams.info(target.stream);
  return {
    up_to: upTo,
    delivered: Math.max(earlier?.delivered ?? 0, info.delivered.stream_seq),
    // The client reads times in nanoseconds as a number, which may round them up to the next millisecond.
    stored_until: new Date(Date.parse(state.last_ts) + 1).toISOString(),
    parked: await parkedUpTo(jsm, target, upTo),
    from: target.from,
    by,
    at: new Date().toISOString(),
  };
}

/**
 * Sequences of the messages that the consumer's service has parked and not handled since, be they discarded: a replay is no
 * decision about them.
 */
async function parkedUpTo(jsm: JetStreamManager, consumer: ConsumerName, upTo: number): Promise<number[]> {
  const { stream, name } = consumer;
  if (stream === DEAD_LETTER_STREAM) return [];
  const open = new Set<number>();
  for (let from = 1; ; ) {
    const subject = `${DEAD_LETTER_PREFIX}.${name}.${name}.${stream}.>`;
    const page = await viewStored(jsm, DEAD_LETTER_STREAM, { subject, from, limit: MAX_PAGE });
    const end = page.at(-1);
    if (end === undefined) return [...open].sort((a, b) => a - b);
    for (const stored of page) {
      const letter = letterOf(stored);
      if (letter === undefined || letter.sequence > upTo) continue;
      if (letter.status === "handled") open.delete(letter.sequence);
      else open.add(letter.sequence);
    }
    if (open.size > MAX_PARKED) {
      throw new ReplayError(
        `Cannot replay ${nameOf(consumer)}: more than ${MAX_PARKED} of its messages are dead letters; redrive them first`,
      );
    }
    from = end.seq + 1;
  }
}

/** Undefined for what is none: it is left alone, as everybody does. */
function letterOf({ subject, seq, time, header: headers, data }: StoredMsg): DeadLetter | undefined {
  try {
    return readLetter({ subject, seq, time, headers, data });
  } catch {
    return undefined;
  }
}

async function waitUntilKnown({
  signal,
  onStep,
  waitMs,
}: {
  signal: AbortSignal;
  onStep(step: ReplayStep): void;
  waitMs: number;
}): Promise<void> {
  const began = performance.now();
  for (let elapsedMs = 0; elapsedMs < waitMs && !signal.aborted; ) {
    onStep({ kind: "waiting", elapsedMs, ofMs: waitMs });
    await pause(Math.min(TELL_MS, waitMs - elapsedMs), signal);
    elapsedMs = performance.now() - began;
  }
}

/** As well as it goes: the pauses end by themselves. */
async function resume(
  jsm: JetStreamManager,
  consumers: readonly ConsumerName[],
  { onStep }: { onStep(step: ReplayStep): void },
): Promise<void> {
  const resumed = await Promise.allSettled(
    consumers.map(async (consumer) => {
      await jsm.consumers.resume(consumer.stream, consumer.name);
      return nameOf(consumer);
    }),
  );
  onStep({
    kind: "resumed",
    consumers: resumed.flatMap((result) => (result.status === "fulfilled" ? result.value : [])),
  });
}
