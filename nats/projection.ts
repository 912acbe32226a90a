import type { MessageShape } from "@bufbuild/protobuf";
import { type Contract, splitSubject } from "./contracts/contract.ts";
import type { Arrived } from "./incoming.ts";
import { FORGED, type MessageRead, type Readable, readMessage } from "./read_message.ts";

/** A message that a projection counts. */
export interface Projected {
  readonly contract: Contract;
  /** What the subject says after the contract's. */
  readonly id: string;
  readonly value: MessageShape<Contract["schema"]>;
  /** Where it is stored, and since when. */
  readonly stream: string;
  readonly seq: number;
  readonly storedAt: Date;
  /** Whether a dead letter has brought it back: it counts if it was left out before, and else not. */
  readonly redriven: boolean;
}

/** Where a message is stored. */
export interface MessagePlace {
  readonly stream: string;
  readonly seq: number;
}

/**
 * By stream, the position that a batch was read from and the one that it ends at. A projection whose position is another one
 * than `from` must not store the batch: somebody else has.
 */
export type Advance = ReadonlyMap<string, Advanced>;

export interface Advanced {
  readonly from: number;
  readonly to: number;
  /** When the message at `to` was stored: by that, a store that was restored from a backup is told. Default: not known. */
  readonly storedAt?: Date;
}

/** What a projection stores at a time: all of it or nothing, in one transaction. At most {@linkcode MAX_BATCH} messages. */
export interface ProjectionBatch {
  /**
   * In the order in which they are to be counted: that of their stream for messages of one, but for snapshots. These come after
   * all others, those of one subject in their order, and some not at all (see {@linkcode takeEach}). It should keep what is counted and not the message: messages are large, and many wait to be stored.
   */
  add(message: Projected): void;
  /** One that cannot be counted, and is a dead letter now. */
  park(place: MessagePlace): void;
  /**
   * Stores it, in one transaction with the positions.
   * @throws {Error} If that did not happen, or is not known to have.
   */
  store(advance: Advance): Promise<void>;
}

/** Where a service keeps what it has counted, together with how far: a database. */
export interface Projection {
  /**
   * Makes ready to store batches, and resolves with the position of each stream: the sequence of the last message that is
   * counted, or will never be. A stream that is not named is at 0.
   *
   * @throws {Error} If it cannot be told now. It is asked again.
   */
  open(signal: AbortSignal): Promise<ReadonlyMap<string, number>>;
  /** When the message at each position was stored, where that is known. */
  storedAt(): Promise<ReadonlyMap<string, Date>>;
  /**
   * Of what was opened last: aborts when somebody else may store batches from then on. Nothing is taken until it is opened again, so
   * that it is delivered to whoever counts now. Default: never.
   */
  readonly lost?: AbortSignal | undefined;
  /** A batch with nothing in it. */
  begin(): ProjectionBatch;
}

/** Messages of one transaction: enough that its round trip and its sync do not matter, and few enough to hold no lock for long. */
export const MAX_BATCH = 1_000;

/**
 * Hands messages to `take`, each for itself, but for snapshots, which say all that those before them on their subject have said:
 * of several only the last, or the one before it if that is not taken, and so on. Reading them all would be the largest part of
 * the work, and say nothing more. What is forged is no snapshot, nor is what is redriven. Snapshots come after all others.
 *
 * @param snapshots The subjects of contracts that are snapshots.
 * @param take Resolves with whether it is taken. `standsFor`: how many earlier snapshots it stands for.
 */
export async function takeEach<T extends Pick<Arrived, "subject" | "forged" | "letter">>(
  messages: readonly T[],
  snapshots: ReadonlySet<string>,
  take: (message: T, standsFor: number) => boolean | Promise<boolean>,
): Promise<void> {
  const bySubject = Map.groupBy(messages, ({ subject, forged, letter }) => {
    return !forged && letter === undefined && snapshots.has(splitSubject(subject).prefix)
      ? subject
      : undefined;
  });
  for (const message of bySubject.get(undefined) ?? []) {
    const taking = take(message, 0);
    // They are many, and nearly all are taken at once.
    if (taking instanceof Promise) await taking;
  }
  bySubject.delete(undefined);
  for (const versions of bySubject.values()) {
    for (const [before, message] of [...versions.entries()].reverse()) {
      if (await take(message, before)) break;
    }
  }
}

export type ReadResult =
  | (Extract<MessageRead, { kind: "read" }> & { readonly contract: Contract; readonly id: string })
  | Extract<MessageRead, { kind: "unreadable" }>
  /** Nobody counts it. */
  | { readonly kind: "skipped" };

export interface ReadProjectedOptions {
  contracts: ReadonlyMap<string, Contract>;
  readable?: Readable | undefined;
}

/**
 * What a stored message says, if it may be counted. At once if it is known whether it may be read (see {@linkcode readMessage}).
 * @throws {Error} If the schema that it names cannot be looked up now.
 */
export function readProjected(
  message: Pick<Arrived, "subject" | "data" | "headers" | "forged">,
  { contracts, readable }: ReadProjectedOptions,
): ReadResult | Promise<ReadResult> {
  const { prefix, id } = splitSubject(message.subject);
  const contract = contracts.get(prefix);
  if (contract === undefined) return { kind: "skipped" };
  if (message.forged) return { kind: "unreadable", error: FORGED };
  const read = readMessage(message, contract, readable);
  const named = (known: MessageRead): ReadResult =>
    known.kind === "read" ? { kind: "read", value: known.value, contract, id } : known;
  return read instanceof Promise ? read.then(named) : named(read);
}
