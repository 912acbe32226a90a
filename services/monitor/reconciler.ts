import { setTimeout as sleep } from "node:timers/promises";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  aboutOrder,
  item,
  type Log,
  ledgers,
  OpenLetters,
  type Positions,
  readPositions,
  reservation,
  type StoredMessage,
  splitSubject,
} from "../../nats/mod.ts";
import { type Facts, fold, newFacts, type Reservation } from "./facts.ts";
import { hasEnded, isOverdue, type JudgeOptions, judge, type Violation } from "./invariants.ts";
import { type Lookup, lookUp, progressOf } from "./lookup.ts";
import { StockBalance } from "./stock.ts";
import { Tail } from "./tail.ts";

export interface ReconcilerOptions {
  connection: NatsConnection;
  jsm: JetStreamManager;
  /**
   * Which dead letters are open. That an order does not end which one holds up is no violation: it waits for a person. Default:
   * all are read.
   */
  letters?: OpenLetters;
  log: Log;
  /** How long an order has to be quiet before it is judged. Default 10,000. */
  settleMs?: number;
  judge?: Omit<JudgeOptions, "now">;
  /** Default: the system's clock, in milliseconds. */
  now?: () => number;
}

/** What was found so far. */
export interface Findings {
  /** Orders that were looked at, each time that they had become quiet. */
  readonly checked: number;
  /** Orders that have not ended, or not for long enough to be judged. */
  readonly open: number;
  /** What is wrong now. Zero is the only good value. */
  readonly violations: readonly Violation[];
  /** Everything stored before this moment was compared; Unix time in milliseconds. */
  readonly comparedUpTo: number;
}

/** Orders in memory, about a kilobyte each: those that are live. Beyond that the oldest are forgotten until they move. */
const MAX_TRACKED = 50_000;
/** Orders that look wrong and are looked at again and again. More than that is one violation too: all is wrong. */
const MAX_SUSPECTS = 1_000;
/** A suspect is looked at again after half of the time that it has been one, but not sooner than and not later than this. */
const RECHECK_MS = { min: 1_000, max: 60_000 } as const;
const CONFIRMATIONS = 2;
/** A message that its consumer has got and not acknowledged for so long is not under way, it is stuck. */
const STUCK_MS = 300_000;

interface Suspect {
  readonly since: number;
  /** When to look at it again. */
  due: number;
  /** Times that it looked wrong and nothing about it was under way. Once may be a replica that is behind. */
  confirmed: number;
  /** Empty while it may still be under way. */
  violations: readonly Violation[];
}

/**
 * Compares what the ledgers say of each order, by the invariants of the design.
 *
 * It reads every message once, in the order in which they were stored, and keeps what it says of an order until the
 * order has ended and been quiet for `settleMs`; then the order is judged and forgotten. So it costs by what happens and
 * not by the history, and in memory are the live orders. A message about an order that was forgotten makes it look the
 * whole order up again.
 *
 * An order that looks wrong is looked up and judged anew before anything is said of it, and is no violation while
 * any message about it waits for a consumer: what is under way is not wrong. It is looked at again until it is right.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #tail: Tail;
  readonly #letters: OpenLetters;
  readonly #stock = new StockBalance();
  /** Orders to which something has happened since they were judged, the longest quiet first. */
  readonly #moving = new Map<string, Facts>();
  /** Orders that were judged and have not ended. */
  readonly #resting = new Map<string, Facts>();
  readonly #suspects = new Map<string, Suspect>();
  /** Orders that would violate I3, were they not held up by a dead letter, with the state that they are in. */
  readonly #held = new Map<string, string>();
  /** Reservations of orders that are not in memory: what they held before has to be looked up. */
  #unresolved: { orderId: string; seq: number; after: Reservation | undefined }[] = [];
  /** The inventory was told up to this message. */
  #lastOfInventory: StoredMessage | undefined;
  #stockViolations: readonly Violation[] = [];
  #checked = 0;
  /** That orders were forgotten before their end was said. */
  #crowded = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#letters = options.letters ?? new OpenLetters(options.jsm);
    this.#tail = new Tail(options.connection, ledgers);
  }

  get findings(): Findings {
    const suspects = [...this.#suspects.values()].flatMap(({ violations }) => violations);
    return {
      checked: this.#checked,
      open: this.#moving.size + this.#resting.size,
      violations: [...this.#stockViolations, ...suspects],
      comparedUpTo: this.#tail.toldUpTo,
    };
  }

  /** Reads on. @returns How many messages were read; 0 when there is nothing new. */
  step(): Promise<number> {
    return this.#tail.step((message, stream) => this.#take(message, stream));
  }

  /** Whether all is read that was there when this was last the case. What came meanwhile is next. */
  get caughtUp(): boolean {
    return this.#tail.caughtUp;
  }

  /** Judges the orders that have become quiet, and once more those that looked wrong. */
  async settle(): Promise<void> {
    const { settleMs = 10_000 } = this.#options;
    await this.#settle(this.#tail.toldUpTo - settleMs);
    await this.#verify((suspect) => suspect.due <= Date.now());
  }

  /** Judges all orders that were read, quiet or not: at the end of a single run. */
  async finish(): Promise<void> {
    await this.#settle(Number.POSITIVE_INFINITY);
    for (let times = 1; times <= CONFIRMATIONS && this.#suspects.size > 0; times++) {
      if (times > 1) await sleep(RECHECK_MS.min);
      await this.#verify(() => true);
    }
  }

  async #settle(quietSince: number): Promise<void> {
    for (const facts of this.#moving.values()) {
      if (facts.last > quietSince) break;
      this.#moving.delete(facts.orderId);
      await this.#judge(facts);
    }
    for (const facts of this.#resting.values()) {
      if (isOverdue(facts, this.#judgeOptions())) this.#suspect(facts.orderId);
    }
    if (this.#held.size > 0) await this.#letters.refresh();
    for (const [orderId, state] of this.#held) {
      if (this.#isHeldUp(orderId, state)) continue;
      this.#held.delete(orderId);
      this.#suspect(orderId);
    }
    await this.#balance();
  }

  /** By a letter that somebody may redrive. What was discarded stays undone. */
  #isHeldUp(orderId: string, state: string): boolean {
    return this.#letters.holding({ orderId, state }).some(({ status }) => status === "parked");
  }

  #judgeOptions(): JudgeOptions {
    return { ...this.#options.judge, now: this.#options.now?.() ?? Date.now() };
  }

  #take(message: StoredMessage, stream: string): void {
    const { prefix, id } = splitSubject(message.subject);
    if (stream === "INVENTORY") this.#lastOfInventory = message;
    if (prefix === item.subject) this.#stock.foldItem(id, message.data);
    const about = aboutOrder(message.subject);
    if (about === undefined) return;
    const { orderId, kind } = about;
    const facts = this.#moving.get(orderId) ?? this.#resting.get(orderId) ?? newFacts(orderId);
    const before = facts.reservation;
    const known = facts.complete || before !== undefined;
    fold(facts, kind, message);
    if (kind === reservation.subject) {
      const after = facts.reservation;
      if (known) this.#stock.foldReservation(before, after);
      else this.#unresolved.push({ orderId, seq: message.seq, after });
    }
    this.#resting.delete(orderId);
    this.#held.delete(orderId);
    // Behind the others: it has moved last.
    this.#moving.delete(orderId);
    this.#moving.set(orderId, facts);
  }

  async #judge(seen: Facts): Promise<void> {
    this.#checked += 1;
    const { orderId } = seen;
    let facts = seen;
    // What was said of it before it was forgotten, or before this process began to read.
    if (!facts.complete) {
      const found = await lookUp(this.#options.connection, orderId, (stream) => this.#tail.position(stream));
      facts = found.facts;
    }
    if (judge(facts, this.#judgeOptions()).length > 0) this.#suspect(orderId);
    if (hasEnded(facts) || !facts.complete) return;
    this.#resting.set(orderId, facts);
    if (this.#resting.size <= MAX_TRACKED) return;
    const [oldest] = this.#resting.keys();
    if (oldest !== undefined) this.#resting.delete(oldest);
    if (this.#crowded) return;
    this.#crowded = true;
    this.#options.log.warn(
      { max: MAX_TRACKED },
      "too many live orders: the deadlines of the oldest are not watched",
    );
  }

  #suspect(orderId: string): void {
    if (this.#suspects.has(orderId)) return;
    if (this.#suspects.size >= MAX_SUSPECTS) {
      this.#options.log.error({ max: MAX_SUSPECTS, order_id: orderId }, "too many orders look wrong");
      return;
    }
    const since = Date.now();
    this.#suspects.set(orderId, { since, due: since, confirmed: 0, violations: [] });
  }

  /** Looks at each suspect again, with everything that is stored by now. */
  async #verify(isDue: (suspect: Suspect) => boolean): Promise<void> {
    const { connection, jsm } = this.#options;
    const due = [...this.#suspects].filter(([, suspect]) => isDue(suspect));
    if (due.length === 0) return;
    // Before the orders are looked up: what is stored after this is under way, not missing.
    const positions = await readPositions(jsm);
    await this.#letters.update();
    for (const [orderId, suspect] of due) {
      const found = await lookUp(connection, orderId);
      const state = found.facts.checkout?.state ?? "created";
      const held = found.facts.complete && this.#isHeldUp(orderId, state);
      const wrong = judge(found.facts, this.#judgeOptions());
      const violations = held ? wrong.filter(({ invariant }) => invariant !== "I3") : wrong;
      if (held && violations.length < wrong.length && this.#held.size < MAX_TRACKED)
        this.#held.set(orderId, state);
      if (violations.length === 0) {
        this.#suspects.delete(orderId);
        if (suspect.violations.length > 0)
          this.#options.log.info({ order_id: orderId }, "a violation is mended");
        continue;
      }
      const age = Date.now() - suspect.since;
      suspect.due = Date.now() + Math.min(RECHECK_MS.max, Math.max(RECHECK_MS.min, age / 2));
      if (isUnderWay(found, positions, age)) continue;
      suspect.confirmed += 1;
      if (suspect.confirmed < CONFIRMATIONS) continue;
      this.#report(suspect.violations, violations);
      suspect.violations = violations;
    }
  }

  async #balance(): Promise<void> {
    const { connection } = this.#options;
    for (const { orderId, seq, after } of this.#unresolved.splice(0)) {
      const { facts } = await lookUp(connection, orderId, (stream) => (stream === "INVENTORY" ? seq - 1 : 0));
      this.#stock.foldReservation(facts.reservation, after);
    }
    if (this.#lastOfInventory !== undefined && !endsBatch(this.#lastOfInventory)) return;
    const violations = this.#stock.violations();
    this.#report(this.#stockViolations, violations);
    this.#stockViolations = violations;
  }

  /** One line for each violation when it is found. */
  #report(before: readonly Violation[], now: readonly Violation[]): void {
    const known = new Set(before.map(({ invariant, detail }) => `${invariant} ${detail}`));
    for (const violation of now) {
      if (known.has(`${violation.invariant} ${violation.detail}`)) continue;
      const { invariant, subject, detail } = violation;
      this.#options.log.error({ invariant, violated_by: subject, detail }, "an invariant is violated");
    }
  }
}

/** Whether no more of its batch follows. */
function endsBatch({ headers }: StoredMessage): boolean {
  return !headers.has("Nats-Batch-Id") || headers.has("Nats-Batch-Commit");
}

function isUnderWay({ mentions }: Lookup, positions: Positions, ageMs: number): boolean {
  const progress = new Set(mentions.map((mention) => progressOf(mention, positions)));
  return progress.has("waiting") || (progress.has("under way") && ageMs < STUCK_MS);
}
