import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { AboutOrder } from "../about_order.ts";
import { type Cause, readCause } from "../cause.ts";
import { decode, splitSubject } from "../contracts/contract.ts";
import { checkoutState } from "../contracts/shop.ts";
import { counted } from "../counted.ts";
import { DEAD_LETTER_PREFIX, DEAD_LETTER_STREAM, type DeadLetter } from "../dead_letter.ts";
import { holdsUp } from "../open_letters.ts";
import type { StoredMessage } from "../pages.ts";
import type { Reading } from "../positions.ts";
import { topology } from "../topology.ts";
import { readTrace, type TraceContext } from "../trace.ts";
import { arrange, type Piece } from "./arrange.ts";
import { MAX_ENTRIES, readSources, type Sources } from "./read.ts";
import { isFired, mapValues, oneLine, type Said, sayOf } from "./says.ts";

/** One stored message of an order's story. */
export interface StoryEntry extends Said {
  /** When it was stored, by the server's clock; Unix time in milliseconds. */
  readonly at: number;
  readonly stream: string;
  readonly seq: number;
  readonly subject: string;
  /** Who stored it: the owner of the stream. Of a change of a dead letter, whose letter it is. */
  readonly service: string;
  /** From 1 on. Entries of the same number were decided at once and stored as one, all or none. */
  readonly decision: number;
  /** `ce-id`. None for a change of a dead letter, which has that of the message that was parked. */
  readonly id?: string;
  /** The message that was handled when this was decided. None: a request of somebody, a sweep, a timer, an older version. */
  readonly cause?: Cause;
  /** Place of the message in the commit that stored it, which other orders may share. None: it was stored alone. */
  readonly batch?: { readonly id: string; readonly sequence: number };
  /** It removes the timer of the same order. */
  readonly cancelsTimer?: true;
  readonly trace?: TraceContext;
  /** Of a change of a dead letter: the letter as it stood then. */
  readonly letter?: DeadLetter;
  /** Services that may have to deal with it yet. */
  readonly waitsFor: readonly Reading[];
}

/** A dead letter that is parked, on its way back, or given up. */
export interface OpenInStory {
  readonly letter: DeadLetter;
  /** Whether the order stays where it is for it. */
  readonly holdsUp: boolean;
}

/** Everything that is stored about one order. */
export interface Story {
  readonly orderId: string;
  /** Each message once: those of a stream in its order, none before its cause, for the rest by time. */
  readonly entries: readonly StoryEntry[];
  /** Dead letters of its messages that nobody has handled since, the longest parked first. */
  readonly open: readonly OpenInStory[];
  /** Whether there is more; the entries are the first {@linkcode MAX_ENTRIES} then. */
  readonly truncated: boolean;
}

/** What can be the id of an order: one token, in which no subject has a meaning of its own. */
const ORDER_ID = /^[\w-]{1,64}$/;

/**
 * One order's whole story from the streams alone: transitions, commands, events, timers that are set or have fired, mails,
 * and what became of dead letters. A moment old at most, and what each consumer has yet to deal with is as it was before it was read.
 *
 * @returns Undefined if nothing is stored about such an order.
 * @throws {Error} If a server does not answer: `isUnavailable()` knows it.
 */
export async function readStory(
  source: { connection: NatsConnection; jsm: JetStreamManager },
  orderId: string,
): Promise<Story | undefined> {
  if (!ORDER_ID.test(orderId)) return undefined;
  const sources = await readSources(source, orderId);
  const story = storyOf(orderId, sources);
  return story.entries.length === 0 ? undefined : story;
}

/** What is known of an entry before all of them are put in order. */
type Fact = Omit<StoryEntry, "decision" | "waitsFor">;

/** Puts together what was read. */
export function storyOf(orderId: string, { streams, letters, positions, more }: Sources): Story {
  const pieces = [...streams.map(piecesOf), letters.map(letterPiece)];
  const facts = arrange(pieces).flatMap(({ content }, index) =>
    content.map((fact) => ({ ...fact, decision: index + 1 })),
  );
  const handled = new Set(
    facts.map(({ cause, service }) => cause && `${cause.stream}/${cause.seq} ${service}`),
  );
  const waitsFor = ({ stream, seq, subject, letter }: Fact): Reading[] => {
    // Only its service's consumer has anything to do about a letter, and only about one that is redriven.
    if (letter !== undefined) {
      const { service, status } = letter;
      return status === "redriven" ? positions.readingsOfLetter({ service, seq }) : [];
    }
    return positions
      .readingsOf({ stream, seq, kind: splitSubject(subject).prefix })
      .map((reading) =>
        handled.has(`${stream}/${seq} ${reading.service}`) ? { ...reading, progress: "under way" } : reading,
      );
  };
  const entries = facts.slice(0, MAX_ENTRIES).map((fact) => ({ ...fact, waitsFor: waitsFor(fact) }));
  return {
    orderId,
    entries,
    open: openOf(letters, stateIn(streams)),
    truncated: more || facts.length > MAX_ENTRIES,
  };
}

/** Of each letter the last change, if it is not that its service has handled it. */
function openOf(letters: readonly DeadLetter[], state: string): OpenInStory[] {
  return [...Map.groupBy(letters, ({ id }) => id).values()].flatMap((changes) => {
    const letter = changes.at(-1);
    if (letter === undefined || letter.status === "handled") return [];
    return [{ letter, holdsUp: holdsUp(letter, state) }];
  });
}

/** Where the order stands: in the last state that can be read. */
function stateIn(streams: readonly AboutOrder[]): string {
  const checkouts = streams.flatMap(({ messages }) => messages).filter(({ subject }) => isState(subject));
  for (const { data } of checkouts.toReversed()) {
    try {
      return decode(checkoutState, data).state;
    } catch {
      // Its entry says that it cannot be read.
    }
  }
  return "created";
}

function isState(subject: string): boolean {
  return splitSubject(subject).prefix === checkoutState.subject;
}

/** What a stream holds, message by message, those of one decision together. */
function piecesOf({ stream, messages }: AboutOrder): Piece<Fact[]>[] {
  const owner = topology.streams.find(({ name }) => name === stream)?.owner ?? "";
  const pieces: (Piece<Fact[]> & { places: string[]; commit: string | undefined })[] = [];
  const last = new Map<string, Uint8Array>();
  for (const message of messages) {
    const { subject, seq, timeMs: at, data, headers } = message;
    const kind = splitSubject(subject).prefix;
    const fired = isFired(kind);
    // What fires has the headers of its timer: the cause, the batch and the place in it are the timer's.
    const cause = fired ? undefined : readCause(headers);
    const fact: Fact = {
      at,
      stream,
      seq,
      subject,
      service: owner,
      ...sayOf(kind, data, last.get(subject)),
      ...(cause && { cause }),
      ...statedBy(message, fired),
    };
    last.set(subject, data);
    const place = `${stream}/${seq}`;
    const commit = fired ? undefined : commitOf(fact);
    const before = pieces.at(-1);
    if (before !== undefined && commit !== undefined && before.commit === commit) {
      before.content.push(fact);
      before.places.push(place);
    } else {
      const from = cause && `${cause.stream}/${cause.seq}`;
      pieces.push({ stream, at, places: [place], cause: from, content: [fact], commit });
    }
  }
  return pieces;
}

/** The same for all messages of a decision: the commit that stored it, and what it was about. Undefined if it says none. */
function commitOf({ id, cause }: Fact): string | undefined {
  const [, commit] = /^([0-9a-f]{32})\.\d+$/.exec(id ?? "") ?? [];
  return commit && `${commit} ${cause?.stream}/${cause?.seq}/${cause?.attempt}`;
}

function statedBy({ headers }: StoredMessage, fired: boolean) {
  const id = headers.get("ce-id");
  const trace = readTrace(headers.get("traceparent"), headers.get("tracestate") || undefined);
  const batch = fired ? "" : headers.get("Nats-Batch-Id");
  const sequence = Number(headers.get("Nats-Batch-Sequence"));
  const cancels = !fired && headers.get("Nats-Schedule-Next") === "purge";
  const [, scheduled] = fired ? [] : (/^@at (.+)$/.exec(headers.get("Nats-Schedule")) ?? []);
  const timerAt = scheduled === undefined ? Number.NaN : Date.parse(scheduled);
  return {
    ...(id !== "" && { id }),
    ...(trace && { trace }),
    ...(batch !== "" && { batch: { id: batch, sequence } }),
    ...(cancels && { cancelsTimer: true as const }),
    ...(!Number.isNaN(timerAt) && { timerAt }),
  };
}

function letterPiece(letter: DeadLetter): Piece<Fact[]> {
  const { id, seq, changedAt, service, stream, sequence, headers } = letter;
  const at = changedAt.getTime();
  const trace = readTrace(headers.get("traceparent"), headers.get("tracestate") || undefined);
  const content: Fact[] = [
    {
      at,
      stream: DEAD_LETTER_STREAM,
      seq,
      subject: `${DEAD_LETTER_PREFIX}.${id}`,
      service,
      ...sayOfLetter(letter),
      ...(trace && { trace }),
      letter,
    },
  ];
  const place = `${DEAD_LETTER_STREAM}/${seq}`;
  return { stream: DEAD_LETTER_STREAM, at, places: [place], cause: `${stream}/${sequence}`, content };
}

function sayOfLetter({
  status,
  service,
  type,
  stream,
  sequence,
  deliveries,
  attempt,
  ...who
}: DeadLetter): Said {
  const what = `${type} of ${stream}/${sequence}`;
  const lines = {
    parked: `${service} gave ${what} up${attempt > 1 ? " again" : ""}: delivered ${counted(deliveries, "time")}`,
    redriven: `${what} is sent to ${service} again`,
    handled: `${service} has handled ${what}`,
    discarded: `nothing will be done about ${what}`,
  } satisfies Record<typeof status, string>;
  const { error, by, note } = who;
  const told = { parked: { error }, redriven: { by }, handled: {}, discarded: { by, note } }[status];
  const details = Object.entries(told).filter(([, text]) => text !== "");
  return {
    kind: "dead_letter",
    says: oneLine(lines[status]),
    ...(details.length > 0 && { details: mapValues(Object.fromEntries(details), oneLine) }),
  };
}
