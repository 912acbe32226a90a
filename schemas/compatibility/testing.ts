import type { DescFile } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, test } from "vitest";
import { compile } from "../compile.ts";
import { fileOf } from "../files.ts";
import { check } from "./check.ts";
import { compare } from "./compare.ts";
import type { Difference } from "./difference.ts";

/**
 * A schema as tests write it: what is in the file, or the whole file if it says its syntax. `$` is a package of its
 * own; other files go by their paths, `main` being the one that is looked at.
 */
export type Text = string | ({ readonly main: string } & Readonly<Record<string, string>>);

/** One edit, and what it is for a new reader of old data (backward) and for an old reader of new data (forward). */
export type Edit = readonly [
  name: string,
  before: Text,
  after: Text,
  /** As {@linkcode inShort}, in any order. `$` is the package. */
  backward: readonly string[],
  forward: readonly string[],
];

/** Tests each edit: the differences, and the verdict in every mode. */
export function testEdits(title: string, edits: readonly Edit[]): void {
  let files: (readonly [before: DescFile, after: DescFile])[];
  beforeAll(async () => {
    files = await compileAll(edits.map(([, before, after]) => [before, after] as const));
  });
  describe(title, () => {
    test.each(edits.map((edit, index) => ({ name: edit[0], edit, index })))("$name", ({ edit, index }) => {
      const [before, after] = files[index] as (typeof files)[number];
      const expected = (lines: readonly string[]) =>
        lines.map((line) => line.replaceAll("$", `p${index}`)).sort();
      const [backward, forward] = [expected(edit[3]), expected(edit[4])];
      expect(inShort(compare(before, after))).toEqual(backward);
      expect(inShort(compare(after, before))).toEqual(forward);

      const [isBackward, isForward] = [isReadable(backward), isReadable(forward)];
      const passes = (mode: Parameters<typeof check>[0]) =>
        check(mode, after, [{ version: 1, file: before }]).length === 0;
      expect(passes("NONE")).toBe(true);
      for (const mode of ["BACKWARD", "BACKWARD_TRANSITIVE"] as const) expect(passes(mode)).toBe(isBackward);
      for (const mode of ["FORWARD", "FORWARD_TRANSITIVE"] as const) expect(passes(mode)).toBe(isForward);
      for (const mode of ["FULL", "FULL_TRANSITIVE"] as const)
        expect(passes(mode)).toBe(isBackward && isForward);
    });
  });
}

function isReadable(lines: readonly string[]): boolean {
  return !lines.some((line) => line.startsWith("!"));
}

/** `FIELD_ADDED #/A/2`, with a `!` in front if it is incompatible; sorted. */
export function inShort(differences: readonly Difference[]): string[] {
  return differences.map(({ type, path, compatible }) => `${compatible ? "" : "!"}${type} ${path}`).sort();
}

/** Compiles histories of schemas, each in its own package: all first versions in one go, all second ones in one, …. */
export async function compileAll<const T extends readonly Text[]>(
  histories: readonly T[],
): Promise<{ [K in keyof T]: DescFile }[]> {
  const length = Math.max(...histories.map((texts) => texts.length));
  const rounds = await Promise.all(
    Array.from({ length }, (_, round) => {
      const sources = histories.flatMap((texts, index) => sourcesOf(texts[round] ?? "", `p${index}`));
      return compile(Object.fromEntries(sources));
    }),
  );
  return histories.map((texts, index) => {
    const files = texts.map((_, round) => {
      const files = rounds[round];
      return files && fileOf(files, `p${index}/main.proto`);
    });
    return files as { [K in keyof T]: DescFile };
  });
}

function sourcesOf(text: Text, name: string): [path: string, text: string][] {
  const files = typeof text === "string" ? { main: text } : text;
  return Object.entries(files).map(([path, content]) => {
    const whole = /^\s*(syntax|edition)\b/.test(content)
      ? content
      : `syntax = "proto3"; package $; ${content}`;
    return [`${name}/${path}.proto`, whole.replaceAll("$", name)];
  });
}
