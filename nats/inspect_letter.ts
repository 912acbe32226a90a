import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Contract, decode } from "./contracts/contract.ts";
import type { DeadLetter } from "./dead_letter.ts";
import { topology as shop, type Topology } from "./topology.ts";

/** What a payload is, and whether its service would take it. */
export type Inspection =
  | {
      kind: "decodes";
      schema: string;
      value: JsonValue;
      /** Bytes of fields that this version of the schema does not know. */
      unknownBytes: number;
    }
  | { kind: "broken"; schema: string | undefined; error: string };

/** Decodes the payload as the letter's consumer would, by the topology. Means of payment are not shown. */
export function inspect(letter: DeadLetter, options: { topology?: Topology } = {}): Inspection {
  const contract = contractOf(letter, options.topology ?? shop);
  if (contract === undefined) {
    const error = `${letter.service} does not read ${letter.type} from ${letter.stream}`;
    return { kind: "broken", schema: undefined, error };
  }
  const schema = contract.schema.typeName;
  if (letter.forged)
    return { kind: "broken", schema, error: "it was not written by the owner of its stream" };
  try {
    const value = decode(contract, letter.data);
    const unknownBytes = value.$unknown?.reduce((sum, { data }) => sum + data.length, 0) ?? 0;
    return { kind: "decodes", schema, value: hidden(toJson(contract.schema, value)), unknownBytes };
  } catch (cause) {
    return { kind: "broken", schema, error: cause instanceof Error ? cause.message : String(cause) };
  }
}

/** What the letter's service takes the message as; undefined if no consumer of it takes it. */
export function contractOf({ service, stream, type }: DeadLetter, topology: Topology): Contract | undefined {
  return topology.consumers
    .filter((spec) => spec.service === service && spec.stream === stream)
    .flatMap(({ contracts }) => contracts)
    .find(({ subject }) => subject === type);
}

/** A means of payment is nobody's to read, not even here. */
function hidden(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(hidden);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === "paymentToken" && inner !== "" ? "(hidden)" : hidden(inner),
    ]),
  );
}
