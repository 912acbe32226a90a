import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

export interface BatchScratchOptions {
  /** The `store_dir` of the server. */
  readonly store: string;
  /** Where it is noted which folder in memory is this store's, so that the next start removes what a killed one left. */
  readonly note: string;
  readonly report: (line: string) => void;
}

/** Where Linux has a file system in memory that programs may use. */
const MEMORY = "/dev/shm";
/** `statfs()` says so of a file system in memory. */
const TMPFS_MAGIC = 0x01021994;
/** Of eight ledgers each may gather several batches of 4 MB at a time; a container's /dev/shm has 64 MB. */
const MIN_FREE_BYTES = 256 * 1024 * 1024;
const PREFIX = "nats-batches-";
/** The server removes its scratch folders when it starts, and they are put back this often. */
const LOOK_EVERY_MS = 1_000;

/**
 * Keeps the files in which nats-server gathers the messages of a batch in memory, where there is room for them.
 *
 * A batch of an unreplicated stream is gathered in files below `<stream>/batches`, then stored like any messages, and the
 * files are removed (nats-server 2.15, `newBatchStore`). Nothing of them is synced or read again after a crash, so that
 * they need no disk; making and removing them is most of what a small batch costs on one (ADR 11).
 *
 * The place of these files is the server's own affair: a version that has another one goes on as it does by itself.
 * Whatever fails here leaves the server with its folders on the disk.
 */
export function keepBatchScratchInMemory({ store, note, report }: BatchScratchOptions): Disposable {
  let memory: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  const giveUp = (cause: unknown) => {
    clearInterval(timer);
    report(`nats-server gathers its batches on the disk: ${cause instanceof Error ? cause.message : cause}`);
  };
  try {
    removeLeftover(note);
    if (hasRoom()) {
      // A name that nobody can foresee, in a folder that nobody else can enter: orders pass through it.
      memory = mkdtempSync(join(MEMORY, PREFIX));
      writeFileSync(note, memory);
    }
  } catch (cause) {
    giveUp(cause);
  }
  const scratch = memory;
  if (scratch === undefined) return { [Symbol.dispose]: () => undefined };
  const look = () => {
    try {
      linkAll(store, scratch);
    } catch (cause) {
      giveUp(cause);
    }
  };
  timer = setInterval(look, LOOK_EVERY_MS).unref();
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      try {
        rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
        rmSync(note, { force: true });
      } catch (cause) {
        // A server that is just being killed may still write there. The next start removes it.
        report(`${scratch} is left behind: ${cause instanceof Error ? cause.message : cause}`);
      }
    },
  };
}

/**
 * Streams of all accounts whose scratch folder is missing or empty get an empty one in memory.
 * @throws {Error} If that cannot be done, for another reason than that the server is at work on these folders.
 */
export function linkAll(store: string, memory: string): void {
  for (const account of foldersIn(join(store, "jetstream"))) {
    for (const stream of foldersIn(join(store, "jetstream", account, "streams"))) {
      const folder = join(store, "jetstream", account, "streams", stream, "batches");
      try {
        link(folder, join(memory, account, stream));
      } catch (cause) {
        if (!isInUse(cause)) throw cause;
      }
    }
  }
}

function link(folder: string, target: string): void {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (found?.isSymbolicLink()) return;
  // Fails while a batch is under way there, and then is tried again.
  if (found !== undefined) rmdirSync(folder);
  // What a server that was killed has left there belongs to no batch any more.
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true, mode: 0o700 });
  // A stream that is just being removed has no folder to put it in.
  if (existsSync(dirname(folder))) symlinkSync(target, folder);
}

function foldersIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

/** The server makes, uses and removes these folders at the same time. */
function isInUse(cause: unknown): boolean {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return ["ENOENT", "EEXIST", "ENOTEMPTY", "EBUSY"].includes(code);
}

function hasRoom(): boolean {
  if (!existsSync(MEMORY)) return false;
  const { type, bavail, bsize } = statfsSync(MEMORY);
  return type === TMPFS_MAGIC && bavail * bsize >= MIN_FREE_BYTES;
}

/** Removes the folder that a supervisor which was killed has left, and no other. */
function removeLeftover(note: string): void {
  if (!existsSync(note)) return;
  const folder = readFileSync(note, "utf8").trim();
  const found = lstatSync(folder, { throwIfNoEntry: false });
  const isOurs = dirname(folder) === MEMORY && folder.startsWith(join(MEMORY, PREFIX));
  if (isOurs && found?.isDirectory() && found.uid === process.getuid?.())
    rmSync(folder, { recursive: true, force: true });
  rmSync(note, { force: true });
}
