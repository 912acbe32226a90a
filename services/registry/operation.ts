import { z } from "zod";
import type { Answer, Operation } from "../../lib/mod.ts";
import { RegistryCode } from "../../nats/mod.ts";
import type { Role } from "./access.ts";

/** What clients of a schema registry send and ask for. */
export const types = [
  "application/vnd.schemaregistry.v1+json",
  "application/vnd.schemaregistry+json",
  "application/json",
] as const;

/** Codes that are a status, and those of `access.ts`, beside the registry's own. */
const Code = { ...RegistryCode, Unauthorized: 40101, Forbidden: 40301, MediaType: 415, Overloaded: 503 };
export type CodeName = keyof typeof Code;

/**
 * An operation whose errors are `{"error_code","message"}`.
 * @param options.answer Of 200. `text` is a schema's text as it is, whatever the content type says.
 * @param options.codes Its own. Those that any request may be answered are added.
 * @param options.role Who may do it where there are tokens. Default: everybody.
 */
export function operation<O extends Omit<Operation, "answers" | "errors">>(
  described: O,
  options: { answer: z.ZodType | "text"; codes?: readonly CodeName[]; role?: Role },
) {
  const { answer, codes = [], role } = options;
  const all: CodeName[] = [...codes, "Store", "Timeout", "Overloaded"];
  if (role !== undefined) all.push("Unauthorized");
  if (role === "operator") all.push("Forbidden");
  if (described.body !== undefined) all.push("MediaType", "TooLarge");
  const ok: Answer =
    answer === "text"
      ? { description: "The text as it is, which is no JSON whatever the content type says", types }
      : { schema: answer, types };
  return { ...described, bodyTypes: types, answers: { 200: ok, ...errors(all) }, errors: "own" as const };
}

/** By status, which is the first three digits of a code. */
function errors(names: readonly CodeName[]): Record<number, Answer> {
  const byStatus = Map.groupBy(new Set(names), (name) => Number(String(Code[name]).slice(0, 3)));
  return Object.fromEntries([...byStatus].map(([status, some]) => [status, errorOf(some)]));
}

/** Operations have most of them in common. */
const made = new Map<string, Answer>();

function errorOf(names: readonly CodeName[]): Answer {
  const description = names.map((name) => `${Code[name]} ${name}`).join(", ");
  const known = made.get(description);
  if (known !== undefined) return known;
  const error_code = z.int().meta({ enum: names.map((name) => Code[name]) });
  const answer = { description, schema: z.object({ error_code, message: z.string() }), types };
  made.set(description, answer);
  return answer;
}

/** On when it is `true`, in any case. */
export function flag(description: string) {
  return z.string().optional().meta({ type: "boolean", description });
}

export function count(description: string) {
  return z.string().optional().meta({ type: "integer", minimum: 0, description });
}
