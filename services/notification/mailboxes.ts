import { closeSync, fstatSync, openSync, readSync, type Stats, writeSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../../nats/mod.ts";

interface Mailbox {
  readonly fd: number;
  /** Its size after the last entry that was written here to the end; -1 if none was. */
  end: number;
}

/** Read at once to look for an entry, so that a large mailbox takes no memory. */
const CHUNK_BYTES = 64 * 1024;
const NEW_LINE = 10;
/** What every entry ends with: its last line's end, and an empty line. */
const END = Buffer.of(NEW_LINE, NEW_LINE);

/**
 * Mailboxes of one folder, made when they are needed, also again when somebody has deleted them. Entries are written while
 * the process waits, some three microseconds; opening and closing the file each time would be twice as much again.
 *
 * Each mailbox that was used stays open until `close()`: the caller has a limited number of names.
 */
export class Mailboxes {
  readonly #folder: string;
  readonly #open = new Map<string, Mailbox>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Adds an entry to `<folder>/<name>` in one write, so that those of several processes do not mix. Behind one that broke
   * off it begins on a new line, and can be read.
   *
   * @param entry In lines that end in `\n`, the last one empty.
   * @param options.unlessThere Adds nothing if the mailbox has the whole entry. It is read for that, from its end, where
   * an entry that was written a moment ago is.
   * @throws {Error} If the entry could not be written, or not all of it.
   */
  append(name: string, entry: Uint8Array, { unlessThere }: { unlessThere: boolean }): void {
    const path = join(this.#folder, name);
    try {
      const { mailbox, size } = this.#current(name, path);
      if (unlessThere && holds(mailbox.fd, size, entry)) return;
      const clean = size === mailbox.end || endsWell(mailbox.fd, size);
      const bytes = clean ? entry : Buffer.concat([END, entry]);
      const written = writeSync(mailbox.fd, bytes);
      if (written < bytes.length) throw new Error(`${written} of ${bytes.length} bytes were written`);
      mailbox.end = size + written;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : cause;
      throw new Error(`Cannot add a mail to ${path}: ${reason}`, { cause });
    }
  }

  close(): void {
    for (const { fd } of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }

  /** The mailbox that has this name now, and its size. */
  #current(name: string, path: string): { mailbox: Mailbox; size: number } {
    const known = this.#open.get(name);
    if (known !== undefined) {
      const { nlink, size } = fstatSync(known.fd);
      if (nlink > 0) return { mailbox: known, size };
      // Deleted, or replaced by a mail program that wrote another one.
      this.#open.delete(name);
      closeSync(known.fd);
    }
    const mailbox = { fd: openWithFolder(path, this.#folder), end: -1 };
    this.#open.set(name, mailbox);
    const { size }: Stats = fstatSync(mailbox.fd);
    return { mailbox, size };
  }
}

/** Makes the folder only if it is not there, since that is once in its life. */
function openWithFolder(path: string, folder: string): number {
  try {
    return openSync(path, "a+");
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ENOENT")) throw cause;
    makeFolder(folder);
    return openSync(path, "a+");
  }
}

/** Whether the next entry can be written right behind what is there. */
function endsWell(fd: number, size: number): boolean {
  if (size === 0) return true;
  const last = Buffer.alloc(END.length);
  const read = readSync(fd, last, 0, last.length, Math.max(0, size - last.length));
  return last.subarray(0, read).equals(END);
}

/**
 * Whether a mailbox has all of an entry, at the beginning of a line. Not looked at are the ends of its last line and of
 * the empty one: if it broke off there, the whole mail is there, and the next entry brings them.
 */
function holds(fd: number, size: number, entry: Uint8Array): boolean {
  let length = entry.length;
  while (entry[length - 1] === NEW_LINE) length -= 1;
  const lines = Buffer.concat([Buffer.of(NEW_LINE), entry.subarray(0, length)]);
  const chunk = Buffer.allocUnsafe(Math.min(size, CHUNK_BYTES + lines.length));
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - chunk.length);
    const text = chunk.subarray(0, readSync(fd, chunk, 0, end - start, start));
    if (text.includes(lines)) return true;
    if (start === 0) return text.subarray(0, length).equals(lines.subarray(1));
    // The entry may lie across the border of two chunks.
    end = start + lines.length;
  }
  return false;
}
