import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Contract, decode } from "./contracts/contract.ts";
import { counted } from "./counted.ts";
import type { DeadLetter } from "./dead_letter.ts";
import { contractOf, inspect } from "./inspect_letter.ts";
import type { Readable } from "./read_message.ts";
import type { Rehearsed } from "./rehearse.ts";
import { topology as shop, type Topology } from "./topology.ts";

/**
 * What a service does about a message, in this order:
 * - `reader`: that one of its consumers takes it, and that the owner of its stream wrote it.
 * - `payload`: it is decoded by the reader's schema.
 * - `schema`: the schema that it names can be read as the reader's (`ReadGate`).
 * - `decision`: the service's handler decides about it on what is stored.
 * - `effect`: what is done outside the shop. Never tried.
 */
export const trialSteps = ["reader", "payload", "schema", "decision", "effect"] as const;
export type TrialStep = (typeof trialSteps)[number];

/** What a redrive would come to, as far as it could be tried. */
export interface Trial {
  /** Whether the service would park it again; `detail` says why then. */
  readonly fails: boolean;
  readonly detail: string;
  /** What was tried; whatever else there is to do about the message was not. */
  readonly checked: readonly TrialStep[];
}

export interface TrialOptions {
  /** Default: the shop's. */
  topology?: Topology;
  /** As the reader's processor has it. Default: the schema that a message names is not looked at. */
  readable?: Readable | undefined;
  /**
   * Has the reader's handler decide and nothing else; undefined if there is none at hand. Default: no decision is tried.
   * @throws {Error} If it cannot be told now.
   */
  rehearse?:
    | ((letter: DeadLetter, value: MessageShape<DescMessage>) => Promise<Rehearsed | undefined>)
    | undefined;
}

/**
 * Tries what the letter's service would do about the message if it were redriven now, step by step, up to the effect. What cannot
 * be told, since a server does not answer, is not checked, and said to be so.
 */
export async function tryLetter(letter: DeadLetter, options: TrialOptions = {}): Promise<Trial> {
  const { topology = shop } = options;
  const inspection = inspect(letter, { topology });
  const contract = contractOf(letter, topology);
  if (inspection.kind === "broken" || contract === undefined) {
    const error = inspection.kind === "broken" ? inspection.error : "nobody reads it";
    return {
      fails: true,
      detail: error,
      checked: contract === undefined ? ["reader"] : ["reader", "payload"],
    };
  }
  const checked: TrialStep[] = ["reader", "payload"];
  const { schema, unknownBytes } = inspection;
  const notes = [`is ${schema}`];
  if (unknownBytes > 0)
    notes.push(`${counted(unknownBytes, "byte")} of fields that this build does not know are left out`);
  const refusal = await refusalOf(letter, contract, options);
  if (refusal !== undefined) {
    checked.push("schema");
    if (refusal !== "") return { fails: true, detail: `unreadable: ${refusal}`, checked };
  }
  const rehearsed = await decisionOf(letter, contract, options);
  if (rehearsed !== undefined) {
    checked.push("decision");
    if (rehearsed.kind === "fails") return { fails: true, detail: rehearsed.error, checked };
    // Then there is none.
    if (rehearsed.kind === "done") checked.push("effect");
    notes.push(`${letter.service} ${says(rehearsed)}`);
  }
  return { fails: false, detail: notes.join("; "), checked };
}

/** Why it must not be read, empty if it may; undefined if that was not looked at. */
async function refusalOf(
  { headers }: DeadLetter,
  contract: Contract,
  { readable }: TrialOptions,
): Promise<string | undefined> {
  if (readable === undefined) return undefined;
  try {
    return (await readable(contract, headers.get("ce-dataschema"))) ?? "";
  } catch {
    // The registry's data cannot be read: that it was not checked is in the trial.
    return undefined;
  }
}

async function decisionOf(
  letter: DeadLetter,
  contract: Contract,
  { rehearse }: TrialOptions,
): Promise<Rehearsed | undefined> {
  try {
    return await rehearse?.(letter, decode(contract, letter.data));
  } catch {
    // A server does not answer: as above.
    return undefined;
  }
}

function says(rehearsed: Exclude<Rehearsed, { kind: "fails" }>): string {
  switch (rehearsed.kind) {
    case "done":
      return "would handle it";
    case "perform":
      return "would take it up, and go on outside the shop";
    case "retry":
    case "wait":
      return `would leave it for later: ${rehearsed.reason}`;
    default:
      return rehearsed satisfies never;
  }
}
