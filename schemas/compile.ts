import { type ExecFileException, execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type FileSet, isImportPath } from "./files.ts";

/** Text of `.proto` files by the path that they are imported under. */
export type Sources = Readonly<Record<string, string>>;

/** The sources are no valid Protobuf. The message has a line `file:line:column: what is wrong` for each fault. */
export class CompileError extends Error {
  override name = "CompileError";
}

export interface CompileOptions {
  /** Where a folder for the sources is made, and removed again. Default: the system's. */
  folder?: string;
  signal?: AbortSignal;
}

/** A schema that takes longer is none that anybody could read. */
const COMPILE_TIMEOUT_MS = 15_000;
/** A revision is fetched from its repository first, for somebody who waits. */
const BUILD_TIMEOUT_MS = 120_000;
const MAX_IMAGE_BYTES = 16 * 1024 * 1024;

/**
 * Compiles `.proto` text with the native `buf build` (its npm package ships it): 70 to 130 ms. Imports are looked for
 * among the sources and the well-known types.
 *
 * @throws {CompileError} With file, line and column of each fault.
 * @throws {RangeError} If a path is no import path: it would lead out of the folder.
 */
export async function compile(sources: Sources, options: CompileOptions = {}): Promise<FileSet> {
  for (const path of Object.keys(sources)) {
    if (!isImportPath(path))
      throw new RangeError(`Cannot compile ${JSON.stringify(path)}: it is no import path`);
  }
  const { folder: parent = tmpdir(), signal } = options;
  const folder = await mkdtemp(join(parent, "proto-"));
  try {
    await writeFile(join(folder, "buf.yaml"), "version: v2\n");
    for (const [path, text] of Object.entries(sources)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
    return createFileRegistry(
      await build(".", { cwd: folder, timeoutMs: COMPILE_TIMEOUT_MS, ...(signal && { signal }) }),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Compiles what `input` names for `buf build`: a folder, a file, or a revision as `.git#branch=main`.
 *
 * @param options.path Where programs are found: reading a revision takes `git`. Default: nowhere.
 * @throws {CompileError} As {@linkcode compile}.
 */
export async function build(
  input: string,
  options: { cwd: string; signal?: AbortSignal; path?: string | undefined; timeoutMs?: number },
): Promise<FileDescriptorSet> {
  const { cwd, signal, path, timeoutMs = BUILD_TIMEOUT_MS } = options;
  const args = ["build", input, "--as-file-descriptor-set", "--exclude-source-info"];
  const settings = {
    cwd,
    timeout: timeoutMs,
    // While it is busy it listens to nothing else.
    killSignal: "SIGKILL" as const,
    maxBuffer: MAX_IMAGE_BYTES,
    ...(signal && { signal }),
  };
  // Nothing of this process' environment is the compiler's business; its cache has no place to be.
  const env = { PATH: path, HOME: cwd, BUF_CACHE_DIR: join(cwd, ".cache") };
  const { promise, resolve } = Promise.withResolvers<[ExecFileException | null, Buffer, Buffer]>();
  execFile(
    bufBinary(),
    [...args, "--error-format", "json", "--output", "-#format=binpb"],
    { ...settings, env, encoding: "buffer" },
    (...ended) => resolve(ended),
  );
  const [error, stdout, stderr] = await promise;
  if (error === null) return fromBinary(FileDescriptorSetSchema, stdout);
  if (typeof error.code === "number") throw new CompileError(faults(stderr.toString()));
  const isTooLarge = error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER";
  if (isTooLarge || (error.killed && error.name !== "AbortError")) {
    const limits = `${timeoutMs / 1_000} s or ${MAX_IMAGE_BYTES / 1024 / 1024} MiB`;
    throw new CompileError(`compiling it takes more than ${limits}`, { cause: error });
  }
  throw new Error(`Cannot compile: buf did not end by itself (${error.code ?? error.signal})`, {
    cause: error,
  });
}

/** One line a fault, from the compiler's own, which are JSON where they have a place. */
function faults(output: string): string {
  const lines = output.split("\n").filter((line) => line !== "");
  return lines.map((line) => (line.startsWith("{") ? fault(JSON.parse(line)) : line)).join("\n");
}

function fault({
  path = "",
  start_line = 0,
  start_column = 0,
  message = "",
}: Record<string, string | number>): string {
  return `${path}:${start_line}:${start_column}: ${message}`;
}

let binary: string | undefined;

/** The program itself: the package's own command is a script that starts a Node to start it. */
function bufBinary(): string {
  if (binary === undefined) {
    const require = createRequire(createRequire(import.meta.url).resolve("@bufbuild/buf/package.json"));
    binary = require.resolve(`${bufPackage(process)}/bin/buf`);
  }
  return binary;
}

/** The npm package that holds the program; for ARM on Linux, as in containers on a Mac, by names of its own. */
export function bufPackage({ platform, arch }: { platform: string; arch: string }): string {
  const onLinux: Readonly<Record<string, string>> = { arm64: "aarch64", arm: "armv7" };
  return `@bufbuild/buf-${platform}-${(platform === "linux" && onLinux[arch]) || arch}`;
}
