import { randomUUID } from "node:crypto";
import { type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Stream } from "./output.ts";

/** Where an export goes. Closing one that was not completed leaves nothing behind. */
export interface Target extends AsyncDisposable {
  /** Resolves when there is room for more. */
  write(chunk: string | Uint8Array): Promise<void>;
  /** Everything has been written. */
  complete(): Promise<void>;
}

/** It cannot be written to; the message says why. */
export class UnwritableError extends Error {
  override name = "UnwritableError";
}

/** Who reads what is written wants no more of it, as `head` does. */
export class ClosedError extends Error {
  override name = "ClosedError";
}

/**
 * A file that has its name only when it is complete: until then it is `.<name>.<random>.partial` beside it. What had the name
 * before is replaced.
 *
 * @throws {UnwritableError} If it cannot be made there, or the name is that of something else than a file.
 */
export async function openFile(name: string): Promise<Target> {
  const fail = (cause: unknown) =>
    new UnwritableError(`Cannot write ${name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  let path: string;
  let partial: string;
  let file: FileHandle;
  try {
    // Through a link, so that it stays one.
    path = await realpath(name).catch(() => resolve(name));
    const there = await stat(path).catch(() => undefined);
    // Renaming would replace it by a file.
    if (there !== undefined && !there.isFile()) throw new Error("it is there and no regular file");
    partial = join(dirname(path), `.${basename(path)}.${randomUUID()}.partial`);
    file = await open(partial, "wx");
  } catch (cause) {
    throw fail(cause);
  }
  let completed = false;
  return {
    async write(chunk) {
      try {
        await file.writeFile(chunk);
      } catch (cause) {
        throw fail(cause);
      }
    },
    async complete() {
      try {
        // Before the name is given: a power cut leaves the whole file under it, or the old one.
        await file.sync();
        await file.close();
        await rename(partial, path);
        completed = true;
      } catch (cause) {
        throw fail(cause);
      }
    },
    async [Symbol.asyncDispose]() {
      if (completed) return;
      // A file that is closed already says so.
      await file.close().catch(() => undefined);
      await rm(partial, { force: true });
    },
  };
}

/** Standard output. It may be closed at any time by who reads it. */
export function openStream(stream: Stream): Target {
  return {
    write(chunk) {
      if (chunk.length === 0) return Promise.resolve();
      return new Promise((done, fail) => {
        stream.write(chunk, (cause) => {
          if (!cause) return done();
          if ("code" in cause && cause.code === "EPIPE") return fail(new ClosedError(cause.message));
          fail(new UnwritableError(`Cannot write to standard output: ${cause.message}`, { cause }));
        });
      });
    },
    complete: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
