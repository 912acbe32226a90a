import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Contract, Key, Outgoing } from "./contracts/contract.ts";
import type { View } from "./task.ts";
import type { TraceContext } from "./trace.ts";
import type { Attributes } from "./tracer.ts";
import type { Patience } from "./waiting.ts";

/**
 * What a handler wants done about a message.
 * - `done`: store these messages (none: it was handled before, or asks for nothing), then acknowledge.
 * - `perform`: store these messages, then call `perform(effect)` outside the ledger, then `conclude` with what it says.
 * - `retry`: leave it; it comes again after `delayMs`, and holds a place in its consumer until then.
 * - `wait`: store that it waits for somebody outside the shop, then acknowledge. It comes again when the handler's `patience`
 *   says so, `notBeforeMs` at the earliest, and holds no place until then.
 * - `dead`: park it as a dead letter, then acknowledge.
 */
export type Outcome<E = never> =
  | { kind: "done"; messages: readonly Outgoing[] }
  | { kind: "perform"; messages: readonly Outgoing[]; effect: E }
  | { kind: "retry"; delayMs: number; reason: string }
  | { kind: "wait"; reason: string; notBeforeMs?: number | undefined }
  | { kind: "dead"; reason: string };

/** What is known of a delivery besides the message. */
export interface Delivery {
  /** What the subject says after the contract's: `o1` of `order.created.o1`. */
  id: string;
  /** Now, by the service's clock. */
  now: Date;
  /** When the message was stored. */
  storedAt: Date;
  /** Its sequence in its stream: which of two messages came later, whatever the order of delivery. */
  seq: number;
  /** 1 for the first delivery, and more for a message that has been tried before, be it by the consumer that parked it. */
  attempt: number;
  /** When it was tried first, of a message that has waited. */
  firstTriedAt?: Date | undefined;
  /**
   * Whether it was handled before, by an operator's mark and not by the state. What decides by its state, as everybody
   * should, need not look. Always false where a consumer has `effects`: its replays are not handled.
   */
  replayed: boolean;
  trace: TraceContext;
}

/** An effect in a trace. No secret, and nothing of a person. */
export interface EffectDescription {
  /** A verb and its object, the same for all effects of a kind: `capture payment`. */
  name: string;
  /** Whether somebody else is asked. Default `client`: yes. */
  kind?: "client" | "internal";
  attributes?: Attributes;
}

/**
 * How a service handles one kind of message. `decide` and `conclude` are pure and idempotent by meaning: the same
 * message may come any number of times, out of order, with any state.
 */
export interface Handler<S extends DescMessage, E = never, R = never> {
  readonly contract: Contract<S>;
  /** How long messages wait that it answers with `wait`. Default: it never does. */
  readonly patience?: Patience;
  /**
   * How many of its effects are under way at a time, so that others that the service has are not held up by them. A message
   * beyond that waits. Default: as many as its consumers deliver.
   */
  readonly maxEffects?: number;
  /** The state that `decide` and `conclude` read and write. */
  keys(message: MessageShape<S>, id: string): readonly Key[];
  /** Those of the keys that this message begins, if nothing unusual has happened (see `Task.begins`). Default: none. */
  begins?(message: MessageShape<S>, id: string): readonly Key[];
  decide(view: View, message: MessageShape<S>, delivery: Delivery): Outcome<E>;
  /**
   * The effect outside the ledger. It may be called again for the same effect, after a crash for example, so it carries
   * an idempotency key that the other side honours. Effects of one id run one at a time within a process. `signal`
   * aborts when the processor has waited long enough for it while shutting down.
   */
  perform?(effect: E, options: { signal: AbortSignal; attempt: number }): Promise<R>;
  /** What a trace says of the effect: what is done, by whom it is done, and what tells it from others. Default: the subject. */
  describe?(effect: E): EffectDescription;
  conclude?(view: View, message: MessageShape<S>, result: R, delivery: Delivery): Outcome<E>;
}

/** A handler whose message type does not matter to whoever holds it. */
// biome-ignore lint/suspicious/noExplicitAny: handlers of different messages share one list
export type AnyHandler = Handler<any, any, any>;
