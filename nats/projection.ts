import type { MessageShape } from "@bufbuild/protobuf";
import { type Contract, splitSubject } from "./contracts/contract.ts";
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

/** What a projection stores at a time: all of it or nothing, in one transaction. */
export interface ProjectionBatch {
  /** In the order in which they are to be counted: that of their stream for messages of one. At most {@linkcode MAX_BATCH}. */
  readonly messages: readonly Projected[];
  /** Messages that cannot be counted, and are dead letters now. */
  readonly parked: readonly { readonly stream: string; readonly seq: number }[];
  /**
   * By stream, the position that this batch was read from and the one that it ends at. A projection whose position is
   * another one than `from` must not store it: somebody else has.
   */
  readonly advance: ReadonlyMap<string, { readonly from: number; readonly to: number }>;
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
  /**
   * Stores a batch, in one transaction with the positions.
   * @throws {Error} If that did not happen, or is not known to have.
   */
  apply(batch: ProjectionBatch): Promise<void>;
}

/** Messages of one transaction: enough that its round trip and its sync do not matter, and few enough to hold no lock for long. */
export const MAX_BATCH = 1_000;

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
 * What a stored message says, if it may be counted.
 * @throws {Error} If the schema that it names cannot be looked up now.
 */
export async function readProjected(
  message: { subject: string; data: Uint8Array; dataSchema: string; forged: boolean },
  { contracts, readable }: ReadProjectedOptions,
): Promise<ReadResult> {
  const { prefix, id } = splitSubject(message.subject);
  const contract = contracts.get(prefix);
  if (contract === undefined) return { kind: "skipped" };
  if (message.forged) return { kind: "unreadable", error: FORGED };
  const read = readMessage(message, contract, readable);
  const known = read instanceof Promise ? await read : read;
  return known.kind === "read" ? { ...known, contract, id } : known;
}
