import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, rmdirSync, rmSync, statfsSync, symlinkSync } from "node:fs";
import { join } from "node:path";

/** Where Linux has a file system in memory that programs may use. */
const MEMORY = "/dev/shm";
/** `statfs()` says so of a file system in memory. */
const TMPFS_MAGIC = 0x01021994;
/** The server removes its scratch folders when it starts, and they are put back this often. */
const LOOK_EVERY_MS = 1_000;

/**
 * Keeps the files in which nats-server gathers the messages of a batch in memory, where there is such a place.
 *
 * A batch of an unreplicated stream is gathered in files below `<stream>/batches`, then stored like any messages, and the
 * files are removed (nats-server 2.15, `newBatchStore`). Nothing of them is synced or read again after a crash, so that
 * they need no disk; making and removing them is most of what a small batch costs on one (docs/performance.md).
 *
 * The place of these files is the server's own affair: a version that has another one goes on as it does by itself.
 * Whatever fails here leaves the server with its folders on the disk.
 *
 * @param store The `store_dir` of the server.
 */
export function keepBatchScratchInMemory(store: string): Disposable {
  if (!isInMemory(MEMORY)) return { [Symbol.dispose]: () => undefined };
  const memory = join(
    MEMORY,
    `nats-batches-${createHash("sha256").update(store).digest("hex").slice(0, 16)}`,
  );
  const timer = setInterval(() => linkAll(store, memory), LOOK_EVERY_MS).unref();
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      rmSync(memory, { recursive: true, force: true });
    },
  };
}

/** Streams of all accounts whose scratch folder is missing or empty get one in memory. */
export function linkAll(store: string, memory: string): void {
  for (const account of foldersIn(join(store, "jetstream"))) {
    for (const stream of foldersIn(join(store, "jetstream", account, "streams"))) {
      const folder = join(store, "jetstream", account, "streams", stream, "batches");
      const target = join(memory, account, stream);
      try {
        mkdirSync(target, { recursive: true, mode: 0o700 });
        const found = lstatSync(folder, { throwIfNoEntry: false });
        if (found?.isSymbolicLink()) continue;
        // Fails while a batch is under way there, and then is tried again.
        if (found !== undefined) rmdirSync(folder);
        symlinkSync(target, folder);
      } catch (cause) {
        if (!isExpected(cause)) throw cause;
      }
    }
  }
}

function foldersIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (cause) {
    if (isExpected(cause)) return [];
    throw cause;
  }
}

/** The server makes, uses and removes these folders at the same time; and they may be on a disk that is full. */
function isExpected(cause: unknown): boolean {
  const { code } = cause as NodeJS.ErrnoException;
  return (
    code !== undefined &&
    ["ENOENT", "ENOTDIR", "EEXIST", "ENOTEMPTY", "EBUSY", "EACCES", "EPERM", "ENOSPC"].includes(code)
  );
}

function isInMemory(path: string): boolean {
  try {
    return statfsSync(path).type === TMPFS_MAGIC;
  } catch {
    return false;
  }
}
