import { createHash, randomUUID } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import { StartError } from "../../lib/mod.ts";
import { type Letter, type Mailer, toMessage } from "./mailer.ts";

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
 * @throws {StartError} If the folder cannot be written. Node's permissions cover what is in a folder only if it exists
 * when the process starts, so that whoever starts the process creates it.
 */
export async function createFileMailer({ dataDir, from }: FileMailerOptions): Promise<Mailer> {
  const folder = join(dataDir, "mail");
  try {
    // One folder of 256 stands for all.
    await mkdir(join(folder, "00"), { recursive: true });
  } catch (cause) {
    const text = `Cannot start notification: create the folder ${folder} and let it be written`;
    throw new StartError(text, { cause });
  }
  const transport = createTransport(
    { streamTransport: true, buffer: true, disableFileAccess: true, disableUrlAccess: true },
    { from },
  );
  return {
    async send(letter) {
      const { message } = await transport.sendMail(toMessage(letter));
      await store(join(folder, shardOf(letter.orderId)), fileName(letter), message as Buffer);
      return { kind: "sent" };
    },
    async [Symbol.asyncDispose]() {
      transport.close();
    },
  };
}

/** A reader sees a whole mail or none, also if two processes write the same one. */
async function store(folder: string, name: string, data: Buffer): Promise<void> {
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `${name}.${randomUUID()}.tmp`);
  try {
    await writeFile(temporary, data, { flag: "wx" });
    await rename(temporary, join(folder, name));
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
}

/** Spreads orders over 256 folders, since a folder of a million files is slow to open. */
function shardOf(orderId: string): string {
  return createHash("sha256").update(orderId).digest("hex").slice(0, 2);
}

/** @throws {RangeError} If the order's id could lead out of the folder. Ids are made by the shop and never do. */
function fileName({ orderId, kind }: Letter): string {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(orderId)) {
    throw new RangeError(`Cannot store a mail of order ${JSON.stringify(orderId)}: it makes no file name`);
  }
  return `${orderId}.${kind}.eml`;
}
