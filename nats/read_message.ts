import type { MessageShape } from "@bufbuild/protobuf";
import { type Contract, decode } from "./contracts/contract.ts";
import type { IncomingHeaders } from "./headers.ts";

/**
 * Says why a message of a contract must not be read, by the schema that it names; undefined if it may (see `ReadGate`).
 * It throws, or rejects, if that cannot be told now.
 */
export type Readable = (
  contract: Contract,
  dataSchema: string,
) => string | undefined | Promise<string | undefined>;

/** What a message says, or why nobody can tell. */
export type MessageRead =
  | { readonly kind: "read"; readonly value: MessageShape<Contract["schema"]> }
  | { readonly kind: "unreadable"; readonly error: string };

/** What is wrong with a message that the server has written in answer to somebody's question (see `isForged`). */
export const FORGED = "not written by the owner of its stream";

/**
 * Reads a message as its contract has it. At once if it is known whether it may be read, as it is for all but the first that
 * names a schema.
 *
 * @throws {Error} If that cannot be told now: nothing counts against the message.
 */
export function readMessage(
  { data, headers }: { data: Uint8Array; headers: IncomingHeaders | undefined },
  contract: Contract,
  readable: Readable | undefined,
): MessageRead | Promise<MessageRead> {
  const verdict = readable?.(contract, dataSchemaOf(headers));
  if (verdict instanceof Promise) return verdict.then((late) => decoded(data, contract, late));
  return decoded(data, contract, verdict);
}

/** The schema that a message names (`ce-dataschema`), empty if it names none. */
function dataSchemaOf(headers: IncomingHeaders | undefined): string {
  return headers?.get("ce-dataschema") ?? "";
}

function decoded(data: Uint8Array, contract: Contract, refusal: string | undefined): MessageRead {
  if (refusal !== undefined) return { kind: "unreadable", error: `unreadable: ${refusal}` };
  try {
    return { kind: "read", value: decode(contract, data) };
  } catch (cause) {
    return { kind: "unreadable", error: `cannot be decoded as ${contract.schema.typeName}: ${cause}` };
  }
}
