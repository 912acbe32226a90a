import { execFile } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { createFileRegistry } from "@bufbuild/protobuf";
import { build, type FileSet } from "../schemas/mod.ts";

/** What was asked for is neither a file of schemas nor a revision. The message says what would be one. */
export class UnknownCandidateError extends Error {
  override name = "UnknownCandidateError";
}

const root = resolve(import.meta.dirname, "..");

/**
 * The schemas of a change: a folder of `.proto` files in place of `proto/`, one file in place of the one in `proto/` that
 * declares the same message, or a branch, tag or commit.
 *
 * @param path Where `git` is found.
 * @throws {UnknownCandidateError} If it is none of that.
 * @throws {CompileError} If it is no valid Protobuf, with file, line and column.
 */
export async function readCandidate(what: string, { path }: { path: string | undefined }): Promise<FileSet> {
  if (existsSync(what)) {
    if (statSync(what).isDirectory()) return compiled(".", { cwd: resolve(what), path });
    return replacing(resolve(what), path);
  }
  const commit = await commitOf(what);
  if (commit === undefined) {
    throw new UnknownCandidateError(
      `Cannot find ${JSON.stringify(what)}: it is no file, no folder and no revision`,
    );
  }
  return compiled(`.git#ref=${commit}`, { cwd: root, path });
}

async function compiled(input: string, options: { cwd: string; path: string | undefined }): Promise<FileSet> {
  return createFileRegistry(await build(input, options));
}

/** `proto/` with one file in the place of its twin there. */
async function replacing(file: string, path: string | undefined): Promise<FileSet> {
  const proto = join(root, "proto");
  const inside = relative(proto, file);
  if (!inside.startsWith("..")) return compiled("proto", { cwd: root, path });
  const twin = await twinOf(await readFile(file, "utf8"), proto);
  if (twin === undefined) {
    throw new UnknownCandidateError(
      `Cannot tell what ${file} replaces: no file in proto/ declares its first message`,
    );
  }
  const folder = await mkdtemp(join(tmpdir(), "candidate-"));
  try {
    await cp(proto, folder, { recursive: true });
    await cp(file, join(folder, twin));
    return await compiled(".", { cwd: folder, path });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The path of the file in `folder` that declares the same package and first message. */
async function twinOf(text: string, folder: string): Promise<string | undefined> {
  const declared = declarationOf(text);
  const paths = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".proto"));
  for (const path of paths) {
    if (declared !== undefined && declarationOf(await readFile(join(folder, path), "utf8")) === declared)
      return path;
  }
  return undefined;
}

function declarationOf(text: string): string | undefined {
  const [, name] = /^\s*package\s+([\w.]+)\s*;/m.exec(text) ?? [];
  const [, message] = /^\s*message\s+(\w+)/m.exec(text) ?? [];
  return name && message && `${name}.${message}`;
}

async function commitOf(revision: string): Promise<string | undefined> {
  // What begins with a dash would be an option of git's.
  if (revision.startsWith("-")) return undefined;
  const args = ["rev-parse", "--verify", "--quiet", `${revision}^{commit}`];
  return promisify(execFile)("git", args, { cwd: root }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}
