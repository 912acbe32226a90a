import { hash, randomUUID } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "../../lib/mod.ts";
import type { Letter, Mailer } from "./mailer.ts";
import { composer } from "./mime.ts";

export interface FileMailerOptions {
  /** Mails go to `<dataDir>/mail/<two hex digits>/<order>.<kind>.eml`. */
  dataDir: string;
  from: string;
}

/**
 * A mailbox for those who have no mail server at hand: each mail a file that any mail program opens. A mail that is sent
 * again has the same name, so that there is one file however often.
 *
 * Files are not synced. They stand in for a mailbox on a developer's machine: after a power cut the last seconds of it
 * may be missing although the ledger has them as sent, and to rule that out would slow every order down.
 *
 * A file is written while the process waits. That is some fifty microseconds, a fifth of what the way through Node's
 * thread pool costs, and nobody waits for this process.
 *
 * @throws {StartError} If the folder cannot be written. Node's permissions cover what is in a folder only if it exists
 * when the process starts, so that whoever starts the process creates it.
 */
export async function createFileMailer({ dataDir, from }: FileMailerOptions): Promise<Mailer> {
  const folder = join(dataDir, "mail");
  try {
    // One folder of 256 stands for all.
    mkdirSync(join(folder, "00"), { recursive: true });
  } catch (cause) {
    const text = `Cannot start notification: create the folder ${folder} and let it be written`;
    throw new StartError(text, { cause });
  }
  const compose = composer(from);
  const store = storing();
  return {
    async send(letter) {
      store(join(folder, shardOf(letter.orderId)), fileName(letter), compose(letter));
      return { kind: "sent" };
    },
    async [Symbol.asyncDispose]() {
      // Nothing stays open.
    },
  };
}

/** A reader sees a whole file or none, also if two processes write the same one. */
function storing(): (folder: string, name: string, text: string) => void {
  // No other process has it, and this one does one thing at a time.
  const temporaryName = `${randomUUID()}.tmp`;
  return (folder, name, text) => {
    const temporary = join(folder, temporaryName);
    try {
      writeInto(folder, temporary, text);
      renameSync(temporary, join(folder, name));
    } catch (cause) {
      rmSync(temporary, { force: true });
      throw cause;
    }
  };
}

/** Makes the folder only if it is not there, since that is once in its life. */
function writeInto(folder: string, path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
    mkdirSync(folder, { recursive: true });
    writeFileSync(path, text);
  }
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}

/** Spreads orders over 256 folders, since a folder of a million files is slow to open. */
function shardOf(orderId: string): string {
  return hash("sha256", orderId).slice(0, 2);
}

/** @throws {RangeError} If the order's id could lead out of the folder. Ids are made by the shop and never do. */
function fileName({ orderId, kind }: Letter): string {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(orderId)) {
    throw new RangeError(`Cannot store a mail of order ${JSON.stringify(orderId)}: it makes no file name`);
  }
  return `${orderId}.${kind}.eml`;
}
