import { readFile } from "node:fs/promises";
import type { Contract } from "../nats/mod.ts";

/** What the comment over a contract's message in `proto/` says of it. */
export interface Meaning {
  /** The whole subject, with its ids as parameters: `order.created.{order}`. */
  readonly address: string;
  readonly parameters: readonly string[];
  /** In a sentence or two; undefined if the comment speaks of another subject, or `proto/` is not there. */
  readonly meaning: string | undefined;
}

const root = new URL("../proto/", import.meta.url);

export async function meaningOf({ subject, schema }: Contract): Promise<Meaning> {
  const text = await readFile(new URL(schema.file.proto.name, root), "utf8").catch(() => "");
  const comment = new RegExp(`^((?://.*\\n)+)message ${schema.name} `, "m").exec(text)?.[1] ?? "";
  const words = comment
    .replaceAll(/^\/\/ ?/gm, "")
    .replaceAll("\n", " ")
    .trim();
  const end = words.indexOf(": ");
  const pattern = words.slice(0, end);
  if (!pattern.startsWith(`${subject}.`)) {
    return { address: `${subject}.{id}`, parameters: ["id"], meaning: undefined };
  }
  const parameters: string[] = [];
  const address = pattern.replaceAll(/<([^>]+)>/g, (_, what: string) => {
    const name = what.replaceAll(/[^A-Za-z0-9]+/g, "_");
    parameters.push(name);
    return `{${name}}`;
  });
  return { address, parameters, meaning: words.slice(end + 2) };
}
