import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Cause } from "./cause.ts";
import type { Contract, Key, Outgoing } from "./contracts/contract.ts";
import type { TraceContext } from "./trace.ts";

/** The state that a decision is made on: the last message of each key that the task named. */
export interface View {
  /**
   * The state of one entity, undefined if there is none yet. Never to be mutated.
   * @throws {ReferenceError} If the task did not name this key: it may not have been read.
   */
  get<S extends DescMessage>(contract: Contract<S>, id: string): MessageShape<S> | undefined;
}

/** What a task wants stored, all or none, and what it tells its caller once that is so. */
export interface Decision<T> {
  /**
   * All of them in this ledger. At least one writes a key of the task, or there are none: an unguarded write could
   * happen twice.
   */
  messages: readonly Outgoing[];
  result: T;
}

export interface Task<T> {
  /** What `decide` reads and writes. */
  keys: readonly Key[];
  /**
   * Subjects of keys that most likely have no message yet, since this is what begins them. Those that are not known are
   * taken to have none instead of being read: a write is guarded by just that, and a guess that was wrong is a conflict
   * like any other. A decision that does not write a guessed key is made again on what is stored. Default: none.
   */
  begins?: readonly string[];
  /**
   * Pure, quick, and idempotent by meaning: it may be called several times for one task, each time with newer
   * state, and that state may already show the effect of this very task.
   */
  decide(view: View): Decision<T>;
  trace: TraceContext;
  /** The message that it handles, which its messages name. Default: it is about none, but somebody's request. */
  cause?: Cause;
  /**
   * Subject of one of the keys whose story goes on with this task, though it is asked for by somebody else: a person who
   * decides, a sweep. The messages then belong to the trace of its last message, and `trace` is linked as their cause.
   * Default: they belong to `trace`.
   */
  continues?: string;
}

/** The task was not carried out in time. Whether it is stored is unknown; carrying it out again is safe. */
export class LedgerTimeoutError extends Error {
  override name = "LedgerTimeoutError";
}

/** The ledger has {@linkcode MAX_WAITING} tasks waiting, or is closing. Nothing of this task is stored. */
export class LedgerBusyError extends Error {
  override name = "LedgerBusyError";
}

/** Tasks that may wait for a commit. Consumers are bounded by `max_ack_pending`; this bounds HTTP. */
export const MAX_WAITING = 20_000;
