import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { NatsConnection } from "@nats-io/transport-node";
import { type Contract, encode, splitSubject, subjectOf } from "./contracts/contract.ts";
import type { DeadLetter } from "./dead_letter.ts";
import type { AnyHandler } from "./handler.ts";
import { isUnavailable } from "./link.ts";
import { readLast } from "./read.ts";
import type { View } from "./task.ts";
import { traceFrom } from "./trace.ts";

/** What a handler decides about a message. `fails`: it would be parked, or thrown at until it is. */
export type Rehearsed =
  | { readonly kind: "done" }
  | { readonly kind: "perform" }
  | { readonly kind: "retry" | "wait"; readonly reason: string }
  | { readonly kind: "fails"; readonly error: string };

/**
 * Has a handler decide about the message of a dead letter, on what its ledger says now, and does nothing about it: nothing is
 * stored, and no effect performed.
 *
 * @param options.ledger The stream of the handler's service, which the credential may read from its leader.
 * @throws {Error} If the server does not answer: `isUnavailable()` knows it.
 */
export async function rehearse(
  connection: NatsConnection,
  handler: AnyHandler,
  { letter, value, ledger }: { letter: DeadLetter; value: MessageShape<DescMessage>; ledger: string },
): Promise<Rehearsed> {
  const { id } = splitSubject(letter.subject);
  const { storedAt, sequence: seq, headers, deliveries } = letter;
  const trace = traceFrom(headers.get("traceparent"), headers.get("tracestate") || undefined);
  try {
    const view = await viewOf(connection, handler, { value, id, ledger });
    const delivery = { id, now: new Date(), storedAt, seq, attempt: deliveries + 1, replayed: false, trace };
    const outcome = handler.decide(view, value, delivery);
    if (outcome.kind === "dead") return { kind: "fails", error: outcome.reason };
    if (outcome.kind === "retry" || outcome.kind === "wait") {
      return { kind: outcome.kind, reason: outcome.reason };
    }
    for (const { contract, value: message } of outcome.messages) encode(contract, message);
    return { kind: outcome.kind };
  } catch (cause) {
    if (isUnavailable(cause)) throw cause;
    return { kind: "fails", error: cause instanceof Error ? cause.message : String(cause) };
  }
}

async function viewOf(
  connection: NatsConnection,
  handler: AnyHandler,
  { value, id, ledger }: { value: MessageShape<DescMessage>; id: string; ledger: string },
): Promise<View> {
  const values = new Map<string, MessageShape<DescMessage> | undefined>();
  for (const key of handler.keys(value, id))
    values.set(key.subject, (await readLast(connection, ledger, key)).value);
  return {
    get: <S extends DescMessage>(contract: Contract<S>, key: string) => {
      const subject = subjectOf(contract, key);
      if (!values.has(subject)) throw new ReferenceError(`Cannot read ${subject}: the task does not name it`);
      return values.get(subject) as MessageShape<S> | undefined;
    },
  };
}
