import { setTimeout as sleep } from "node:timers/promises";
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  changeLetter,
  DEAD_LETTER_PREFIX,
  DEAD_LETTER_STREAM,
  type DeadLetter,
  type DeadLetterChange,
  type DeadLetterStatus,
  readLetter,
} from "./dead_letter.ts";
import { MAX_PAGE, viewStored } from "./read.ts";
import { topology as shop, type Topology } from "./topology.ts";
import { type Trial, type TrialStep, trialSteps, tryLetter } from "./trial.ts";

/** Which dead letters; what is not said does not matter. */
export interface DeadLetterFilter {
  service?: string | undefined;
  /** The subject without its id: `checkout.reserve_stock`. */
  type?: string | undefined;
  /** Part of the error, in any case. */
  error?: string | undefined;
  /** When it was parked, or changed last. */
  from?: Date | undefined;
  to?: Date | undefined;
  /** Default `parked`: those that somebody has to look at. */
  status?: DeadLetterStatus | "all" | undefined;
}

export interface DeadLetterPage {
  letters: DeadLetter[];
  /** Where the next page begins, undefined if there is nothing more. */
  next: number | undefined;
}

/**
 * One page of dead letters in the order of their last change, each once and as it stands now. Costs by the
 * {@linkcode MAX_PAGE} messages that it looks at, so that it may hold fewer letters than `limit`, even none, and there
 * are more for as long as there is a `next`. A moment old at most.
 *
 * @param options.from A `next` of an earlier page. `options.upTo`: changes stored after this sequence do not count.
 */
export async function listDeadLetters(
  jsm: JetStreamManager,
  filter: DeadLetterFilter,
  options: { limit: number; from?: number | undefined; upTo?: number | undefined },
): Promise<DeadLetterPage> {
  const scanned = await scan(jsm, filter, options.from);
  const candidates = scanned.flatMap(({ letter }) => (letter && matches(letter, filter) ? [letter] : []));
  const { limit, upTo = Number.POSITIVE_INFINITY } = options;
  const letters: DeadLetter[] = [];
  let looked = 0;
  while (looked < candidates.length && letters.length < limit) {
    const some = candidates.slice(looked, looked + Math.min(MAX_READS, limit - letters.length));
    looked += some.length;
    const last = await Promise.all(some.map((letter) => isLastChange(jsm, letter)));
    letters.push(...some.filter(({ seq }, index) => last[index] && seq <= upTo));
  }
  const left = candidates[looked];
  if (left !== undefined) return { letters, next: left.seq };
  const end = scanned.at(-1);
  return { letters, next: end && end.seq + 1 };
}

/** Reads that are under way at once. */
const MAX_READS = 50;

/** Of a letter's changes, the last one says where it stands. */
async function isLastChange(jsm: JetStreamManager, { id, seq }: DeadLetter): Promise<boolean> {
  const last = await jsm.direct.getMessage(DEAD_LETTER_STREAM, {
    last_by_subj: `${DEAD_LETTER_PREFIX}.${id}`,
  });
  return last?.seq === seq;
}

/** The dead letter as it stands, a moment old at most; undefined if there is none of this id. */
export async function findDeadLetter(jsm: JetStreamManager, id: string): Promise<DeadLetter | undefined> {
  if (!isDeadLetterId(id)) return undefined;
  const stored = await jsm.direct.getMessage(DEAD_LETTER_STREAM, {
    last_by_subj: `${DEAD_LETTER_PREFIX}.${id}`,
  });
  return stored === null ? undefined : toLetter(stored);
}

/** Whether this can be the id of a dead letter: `<service>.<consumer>.<stream>.<sequence>`. */
export function isDeadLetterId(id: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]+\.\d+$/.test(id);
}

/** What became of one letter that was to be redriven or discarded. `letter` is how it stood before. */
export interface LetterOutcome {
  id: string;
  letter: DeadLetter | undefined;
  /**
   * - `redriven`, `discarded`: done and recorded.
   * - `would_redrive`: a dry run found nothing against it, as far as it was `checked`.
   * - `would_fail`: it was left alone, since its service would park it again.
   * - `unchanged`: nothing was done, since it is not parked: it was redriven, handled or discarded before.
   * - `missing`: there is none.
   * - `failed`: the server would not store it, or did not say so in time; doing it again is safe.
   */
  outcome: "redriven" | "discarded" | "would_redrive" | "would_fail" | "unchanged" | "missing" | "failed";
  detail: string;
  /** Of a redrive: what was tried before, and what was not. */
  checked?: readonly TrialStep[];
  unchecked?: readonly TrialStep[];
}

export interface RedriveOptions {
  /** Who wants it. */
  by: string;
  /** Only say what would happen. Default false. */
  dryRun?: boolean;
  /** Redrive what would be parked again, too; never what was forged. Default false. */
  force?: boolean;
  /** Default: the shop's. */
  topology?: Topology;
  /** Tries what would come of it. Default: {@linkcode tryLetter} without schemas and decisions. */
  trial?: ((letter: DeadLetter) => Promise<Trial>) | undefined;
}

/** Where dead letters are read and changed. */
export interface DeadLetterSource {
  connection: NatsConnection;
  jsm: JetStreamManager;
}

/**
 * Sends a parked message back to the consumer that parked it, and to nobody else: the change is stored under the letter's
 * own subject, which its service alone consumes. If it fails again, it is parked again.
 *
 * Safe to repeat: the change is guarded by the one before, so that of any number of redrives of a parked letter one
 * has an effect, and the others find that it is not parked.
 */
export async function redriveDeadLetter(
  source: DeadLetterSource,
  id: string,
  options: RedriveOptions,
): Promise<LetterOutcome> {
  const { by, dryRun = false, force = false, topology = shop } = options;
  const trial = options.trial ?? ((letter: DeadLetter) => tryLetter(letter, { topology }));
  return settle(source, id, async (letter) => {
    const { fails, detail, checked } = await trial(letter);
    const unchecked = trialSteps.filter((step) => !checked.includes(step));
    const tried = { checked, unchecked };
    if (fails && (letter.forged || !force)) return { outcome: "would_fail", detail, ...tried };
    const told = fails ? `forced: ${detail}` : detail;
    if (dryRun) {
      const left = fails || unchecked.length === 0 ? "" : `; not tried: its ${unchecked.join(", its ")}`;
      return { outcome: "would_redrive", detail: `${told}${left}`, ...tried };
    }
    const change: DeadLetterChange = { status: "redriven", by, note: "" };
    return { outcome: "redriven", detail: told, ...tried, change };
  });
}

/** Records that nothing will be done about a parked message. It stays in the stream with who, when and why. */
export async function discardDeadLetter(
  source: DeadLetterSource,
  id: string,
  options: { by: string; reason: string },
): Promise<LetterOutcome> {
  const { by, reason } = options;
  return settle(source, id, async () => ({
    outcome: "discarded",
    detail: reason,
    change: { status: "discarded", by, note: reason },
  }));
}

/** Letters redriven a second unless somebody says otherwise: a service that has just been mended is not stormed. */
export const DEFAULT_REDRIVE_RATE = 50;
export const MAX_REDRIVE_RATE = 1_000;

/**
 * Redrives all letters that match and that were parked when it began, one after the other, `rate` a second at most. Each
 * is visited once: one that fails again meanwhile is left for the next time.
 */
export async function* redriveDeadLetters(
  source: DeadLetterSource,
  filter: DeadLetterFilter,
  options: RedriveOptions & { rate?: number; from?: number; upTo: number; signal?: AbortSignal },
): AsyncGenerator<LetterOutcome & { seq: number }> {
  const { rate = DEFAULT_REDRIVE_RATE, upTo, signal } = options;
  let due = performance.now();
  let { from } = options;
  do {
    const page = await listDeadLetters(
      source.jsm,
      { ...filter, status: "parked" },
      { limit: 100, from, upTo },
    );
    for (const { id, seq } of page.letters) {
      signal?.throwIfAborted();
      if (options.dryRun !== true) {
        const wait = due - performance.now();
        if (wait > 0) await sleep(wait, undefined, signal && { signal });
        due = Math.max(due, performance.now()) + 1_000 / rate;
      }
      yield { ...(await redriveDeadLetter(source, id, options)), seq };
    }
    from = page.next;
  } while (from !== undefined && from <= upTo);
}

/** Sequence of the last change of any letter: what comes later is news to whoever began before. */
export async function lastChange({ jsm }: DeadLetterSource): Promise<number> {
  return (await jsm.streams.info(DEAD_LETTER_STREAM)).state.last_seq;
}

/** How often a change is tried when somebody else changes the letter or the server does not answer. */
const MAX_TRIES = 5;
/** A replica that is behind shows a letter as it was; it has caught up after a few of these. */
const RETRY_MS = 50;

type Step = Pick<LetterOutcome, "outcome" | "detail" | "checked" | "unchecked">;

async function settle(
  { connection, jsm }: DeadLetterSource,
  id: string,
  decide: (letter: DeadLetter) => Promise<Step & { change?: DeadLetterChange }>,
): Promise<LetterOutcome> {
  let detail = "";
  let before: DeadLetter | undefined;
  /** Of the try whose answer was lost: its change may be stored. */
  let tried: (Step & { change?: DeadLetterChange }) | undefined;
  for (let attempt = 1; attempt <= MAX_TRIES; attempt++) {
    const letter = await findDeadLetter(jsm, id);
    if (letter === undefined)
      return { id, letter, outcome: "missing", detail: "there is no such dead letter" };
    // The answer to an earlier try was lost, and its change is in the letter's history, whatever followed.
    if (
      before !== undefined &&
      tried !== undefined &&
      letter.seq > before.seq &&
      letter.by === tried.change?.by
    ) {
      return { id, letter: before, ...withoutChange(tried) };
    }
    if (letter.status !== "parked") return { id, letter, outcome: "unchanged", detail: standing(letter) };
    const step = await decide(letter);
    if (step.change === undefined) return { id, letter, ...step };
    const changed = await changeLetter(connection, letter, step.change);
    if (changed.kind === "committed") return { id, letter, ...withoutChange(step) };
    if (changed.kind === "unknown") {
      before = letter;
      tried = step;
    }
    detail = "description" in changed ? changed.description : changed.kind;
    if (changed.kind === "rejected") break;
    await sleep(RETRY_MS * attempt);
  }
  return { id, letter: before, outcome: "failed", detail };
}

function withoutChange({ change: _, ...step }: Step & { change?: DeadLetterChange }): Step {
  return step;
}

/** Where a letter stands, in words. */
function standing({ status, by, changedAt, note }: DeadLetter): string {
  const who = by === "" || status === "handled" ? "" : ` by ${by}`;
  const why = note === "" ? "" : `: ${note}`;
  return `it is ${status}${who} since ${changedAt.toISOString()}${why}`;
}

function matches(letter: DeadLetter, filter: DeadLetterFilter): boolean {
  const { service, type, error, from, to, status = "parked" } = filter;
  return (
    (status === "all" || letter.status === status) &&
    (service === undefined || letter.service === service) &&
    (type === undefined || letter.type === type) &&
    (error === undefined || letter.error.toLowerCase().includes(error.toLowerCase())) &&
    (from === undefined || letter.changedAt >= from) &&
    (to === undefined || letter.changedAt <= to)
  );
}

/** The next messages of the stream; those that are no letters are counted, and nothing else. */
async function scan(
  jsm: JetStreamManager,
  { service, from: since }: DeadLetterFilter,
  from: number | undefined,
): Promise<{ seq: number; letter: DeadLetter | undefined }[]> {
  const subject = service === undefined ? `${DEAD_LETTER_PREFIX}.>` : `${DEAD_LETTER_PREFIX}.${service}.>`;
  const stored = await viewStored(jsm, DEAD_LETTER_STREAM, { subject, from, since, limit: MAX_PAGE });
  return stored.map((message) => ({ seq: message.seq, letter: letterIn(message) }));
}

/** The letter that a message of `DEAD_LETTER` stores, undefined if it is none. */
export function letterIn(stored: StoredMsg): DeadLetter | undefined {
  try {
    return toLetter(stored);
  } catch (cause) {
    if (cause instanceof TypeError) return undefined;
    throw cause;
  }
}

function toLetter({ subject, seq, time, header, data }: StoredMsg): DeadLetter {
  return readLetter({ subject, seq, time, headers: header, data });
}
