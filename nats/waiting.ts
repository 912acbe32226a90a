import type { MessageShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { MsgHdrs } from "@nats-io/transport-node";
import type { WaitingDueSchema } from "../gen/shop/waiting/v1/waiting_due_pb.ts";
import type { WaitingSchema } from "../gen/shop/waiting/v1/waiting_pb.ts";
import type { Budget } from "./budget.ts";
import { newHeaders } from "./commit.ts";
import {
  type Contract,
  decode,
  type Key,
  key,
  message,
  type Outgoing,
  splitSubject,
  subjectOf,
} from "./contracts/contract.ts";
import { counted } from "./counted.ts";
import type { Outcome } from "./handler.ts";
import type { Delivered } from "./incoming.ts";
import type { Decision, View } from "./task.ts";

/** How a service stores, in its own ledger, what waits for somebody outside the shop. */
export interface WaitingContracts {
  /** `<service>.waiting` */
  readonly state: Contract<typeof WaitingSchema>;
  /** `<service>.waiting_timer`, whose schedules fire `due`. */
  readonly timer: Contract<typeof WaitingDueSchema>;
  readonly due: Contract<typeof WaitingDueSchema>;
}

/** What a message that has waited says of that. */
export interface Due {
  /** When its timer was set for. */
  readonly at: Timestamp;
  /** How often it was tried in vain. */
  readonly tries: number;
}

/** How long a handler's messages wait for somebody outside the shop. */
export interface Patience {
  /** Before the second try, in milliseconds. Each wait is twice as long as the one before, and up to a half shorter by chance. */
  readonly firstMs: number;
  /** The longest wait, in milliseconds. */
  readonly maxMs: number;
  /** What has been tried for so long becomes a dead letter, in milliseconds. Default: it is tried for ever. */
  readonly maxAgeMs?: number;
  /**
   * How many messages are tried again in a second, by each process: so many that wait come due one after the other, and hold up
   * nobody else's. Default: any number.
   */
  readonly perSecond?: number;
  /** Whether another message may ask for the same while one waits. Costs a read of each message. Default false. */
  readonly repeats?: boolean;
}

/** What became of a message that could not be handled yet: `done` if another delivery has seen to it. */
export type Postponed =
  | { readonly kind: "waiting"; readonly until: Date; readonly reason: string }
  | Extract<Outcome, { kind: "done" | "dead" }>;

/** A message that should have been tried again so long ago has lost its timer: another one that asks for the same is tried. */
export const OVERDUE_MS = 60_000;
/** Headers are one line each, and reasons are for people. */
const MAX_REASON = 500;

/**
 * What is stored about one message that may have to wait. It is known by the message's subject: of two messages that ask
 * for the same, one waits.
 *
 * A message that waits holds no place in its consumer: it is stored in the service's ledger together with when it is tried
 * again, as a schedule, and acknowledged. The schedule fires it back to the service. What is stored counts the tries (ADR 21).
 */
export class Waiting {
  readonly #contracts: WaitingContracts;
  readonly #subject: string;
  readonly #id: string;
  readonly #due: Due | undefined;
  readonly #redriven: boolean;

  /**
   * @param about.subject Of the message.
   * @param about.due Undefined of a message that its sender's stream delivers.
   * @param about.redriven Whether an operator wants it tried now.
   */
  constructor(
    contracts: WaitingContracts,
    about: { subject: string; due: Due | undefined; redriven: boolean },
  ) {
    this.#contracts = contracts;
    this.#subject = about.subject;
    this.#id = waitingId(about.subject);
    this.#due = about.due;
    this.#redriven = about.redriven && about.due === undefined;
  }

  get key(): Key {
    return key(this.#contracts.state, this.#id);
  }

  /** Since when it has been tried, undefined if this is the first try. */
  firstTriedAt(view: View): Date | undefined {
    const known = this.#known(view);
    return known?.firstTriedAt && timestampDate(known.firstTriedAt);
  }

  /** Whether another delivery of it is going to be tried, or was tried since. */
  isOvertaken(view: View, now: Date): boolean {
    if (this.#redriven) return false;
    const next = view.get(this.#contracts.state, this.#id)?.nextTryAt;
    if (this.#due !== undefined) {
      return next === undefined || timestampMs(next) !== timestampMs(this.#due.at);
    }
    return next !== undefined && timestampMs(next) + OVERDUE_MS > now.getTime();
  }

  /**
   * Has `delivered` come again, unless it has waited for too long.
   * @param options.jitter Random, at least 0 and below 1.
   * @param options.budget Of the patience's `perSecond`.
   * @param options.notBeforeMs What somebody outside has asked for: the first wait, if it is longer. Default 0.
   */
  postpone(
    view: View,
    delivered: Delivered,
    options: {
      now: Date;
      patience: Patience;
      jitter: number;
      reason: string;
      notBeforeMs?: number | undefined;
      budget?: Budget | undefined;
    },
  ): Decision<Postponed> {
    const { now, patience, jitter, notBeforeMs = 0, budget } = options;
    if (this.isOvertaken(view, now)) return { messages: [], result: { kind: "done", messages: [] } };
    const known = this.#known(view);
    const tries = (known?.tries ?? 0) + 1;
    const firstTriedAt = known?.firstTriedAt ?? timestampFromDate(now);
    const ageMs = now.getTime() - timestampMs(firstTriedAt);
    if (patience.maxAgeMs !== undefined && ageMs >= patience.maxAgeMs) {
      const hours = Math.round(ageMs / 3_600_000);
      const reason = `tried ${counted(tries, "time")} in ${counted(hours, "hour")}: ${options.reason}`;
      return { messages: [], result: { kind: "dead", reason } };
    }
    const wanted = now.getTime() + delayMs(patience, { tries, jitter, notBeforeMs });
    const until = new Date(budget?.take(wanted) ?? wanted);
    const nextTryAt = timestampFromDate(until);
    const { reason } = options;
    const { state, timer, due } = this.#contracts;
    const schedule = { at: until, target: subjectOf(due, this.#id) };
    const shown = reason.slice(0, MAX_REASON);
    return {
      messages: [
        message(timer, this.#id, { at: nextTryAt, tries, ...carried(delivered) }, { schedule }),
        message(state, this.#id, { subject: this.#subject, tries, firstTriedAt, reason: shown, nextTryAt }),
      ],
      result: { kind: "waiting", until, reason },
    };
  }

  /** What goes with the messages of a decision that leaves nothing to wait for. */
  ended(view: View): Outgoing[] {
    const { state, timer } = this.#contracts;
    const known = view.get(state, this.#id);
    if (known?.nextTryAt === undefined) return [];
    const { nextTryAt: _, ...rest } = known;
    return [message(state, this.#id, rest, { cancels: subjectOf(timer, this.#id) })];
  }

  /** What earlier tries have left, if this is one more of the same: a redriven message begins again. */
  #known(view: View): MessageShape<typeof WaitingSchema> | undefined {
    if (this.#redriven) return undefined;
    const known = view.get(this.#contracts.state, this.#id);
    return known?.nextTryAt === undefined ? undefined : known;
  }
}

/** By what a ledger knows that a message waits: `<id>.<type>`, `ord_1.checkout_refund_payment`. */
export function waitingId(subject: string): string {
  const { prefix, id } = splitSubject(subject);
  return `${id}.${prefix.replaceAll(".", "_")}`;
}

/** How long the wait after so many tries is, in milliseconds. What many are told at once, they do not do at once. */
export function delayMs(
  { firstMs, maxMs }: Patience,
  { tries, jitter, notBeforeMs = 0 }: { tries: number; jitter: number; notBeforeMs?: number },
): number {
  const longest = Math.min(maxMs, Math.max(firstMs, notBeforeMs) * 2 ** Math.min(tries - 1, 40));
  return Math.round(Math.max(longest * (1 - jitter / 2), notBeforeMs * (1 + jitter / 2)));
}

/**
 * A message as it was delivered first.
 * @throws {Error} If there is none in `data`.
 */
export function unwrap(
  due: Contract<typeof WaitingDueSchema>,
  data: Uint8Array,
): { delivered: Delivered; due: Due } {
  const waited = decode(due, data);
  const { stream, sequence, subject, storedAt, headers: values, data: carried, at, tries } = waited;
  if (at === undefined || storedAt === undefined || subject === "") {
    throw new TypeError(`Cannot read ${due.subject}: it carries no message`);
  }
  const headers = newHeaders();
  for (const [name, value] of Object.entries(values)) headers.set(name, value);
  const time = timestampDate(storedAt);
  const delivered = { stream, subject, seq: Number(sequence), time, headers, data: carried };
  return { delivered, due: { at, tries } };
}

function carried({ stream, seq, subject, time, headers, data }: Delivered) {
  return {
    stream,
    sequence: BigInt(seq),
    subject,
    storedAt: timestampFromDate(time),
    headers: valuesOf(headers),
    data,
  };
}

function valuesOf(headers: MsgHdrs | undefined): Record<string, string> {
  const names = (headers?.keys() ?? []).filter((name) => !/^nats-/i.test(name));
  return Object.fromEntries(names.map((name) => [name, headers?.get(name) ?? ""]));
}
