import { setTimeout as sleep } from "node:timers/promises";
import type { MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { WaitingDueSchema } from "../gen/shop/waiting/v1/waiting_due_pb.ts";
import type { Log } from "./connection.ts";
import { decode, key, message, splitSubject, subjectOf } from "./contracts/contract.ts";
import type { Ledger } from "./ledger.ts";
import { orAborted } from "./pause.ts";
import { MAX_PAGE, viewStored } from "./read.ts";
import { newTrace } from "./trace.ts";
import { OVERDUE_MS, type WaitingContracts } from "./waiting.ts";

export interface WaitingSweepOptions {
  readonly jsm: JetStreamManager;
  readonly ledger: Ledger;
  readonly waiting: WaitingContracts;
  readonly log: Pick<Log, "warn" | "error">;
  readonly signal: AbortSignal;
}

/** Reads all that waits: seldom. */
const EVERY_MS = 3_600_000;
const SOON_MS = 1_000;
/** So many of them at a time, one after the other. */
const PER_SECOND = 50;

/** Sweeps at once and then hourly, until `signal` aborts. A sweep that fails is reported, and made up for. */
export async function sweepWaitingRegularly(options: WaitingSweepOptions): Promise<void> {
  const { log, signal } = options;
  while (!signal.aborted) {
    try {
      const found = await orAborted(sweepWaiting(options, new Date()), signal);
      if (found > 0) log.warn({ overdue: found }, "the sweep found what waits and had lost its timer");
      await sleep(EVERY_MS, undefined, { signal });
    } catch (cause) {
      if (signal.aborted) return;
      log.error({ err: cause }, "cannot sweep what waits, trying again");
      await sleep(OVERDUE_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

/**
 * Sets new timers for what should have been tried again a minute ago and more: a timer that did not fire (ADR 4) would be
 * waited for for ever. Costs by what waits.
 *
 * @returns How many there were.
 * @throws {Error} If the server does not answer.
 */
export async function sweepWaiting(options: WaitingSweepOptions, now: Date): Promise<number> {
  const { jsm, ledger, waiting, signal } = options;
  const subject = `${waiting.timer.subject}.>`;
  let found = 0;
  for (let from: number | undefined; !signal.aborted; ) {
    const page = await viewStored(jsm, ledger.stream, { subject, from, limit: MAX_PAGE });
    const last = page.at(-1);
    if (last === undefined) break;
    const set = await Promise.all(
      page.map((timer, index) => {
        const soon = new Date(now.getTime() + SOON_MS + ((found + index) / PER_SECOND) * 1_000);
        return setAgain(timer, options, { now, soon });
      }),
    );
    found += set.filter(Boolean).length;
    from = last.seq + 1;
  }
  return found;
}

/** @returns Whether the timer was late and what it is about still waits for it. */
async function setAgain(
  { subject, data }: StoredMsg,
  { ledger, waiting, signal }: WaitingSweepOptions,
  { now, soon }: { now: Date; soon: Date },
): Promise<boolean> {
  const { state, timer, due } = waiting;
  const value: MessageShape<typeof WaitingDueSchema> = decode(timer, data);
  const wasAt = value.at === undefined ? 0 : timestampMs(value.at);
  if (wasAt + OVERDUE_MS > now.getTime()) return false;
  const { id } = splitSubject(subject);
  const at = timestampFromDate(soon);
  const task = {
    keys: [key(state, id)],
    trace: newTrace(),
    continues: subjectOf(state, id),
    decide(view: Parameters<Parameters<Ledger["execute"]>[0]["decide"]>[0]) {
      const known = view.get(state, id);
      const waits = known?.nextTryAt !== undefined && timestampMs(known.nextTryAt) === wasAt;
      if (known === undefined || !waits) return { messages: [], result: false };
      const schedule = { at: soon, target: subjectOf(due, id) };
      const set = message(timer, id, { ...value, at }, { schedule });
      return { messages: [set, message(state, id, { ...known, nextTryAt: at })], result: true };
    },
  };
  return ledger.execute(task, { signal });
}
