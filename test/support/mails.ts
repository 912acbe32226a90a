import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A mail as a mail program finds it in a mailbox. */
export interface StoredMail {
  /** File that it is in, below the folder. */
  readonly mailbox: string;
  /** The line that begins it, without `From `. */
  readonly from: string;
  /** With its angle brackets; empty if the mail broke off before. */
  readonly messageId: string;
  /** As it was sent, in lines that end in `\r\n`. */
  readonly source: string;
}

/** What the shop's mails end with. One that does not broke off. */
const LAST_LINE = "\r\nYour shop";

/** Reads every mailbox of a folder (mboxrd), in the order in which the mails were stored. */
export async function readMailboxes(folder: string): Promise<StoredMail[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".mbox")).sort();
  const mailboxes = names.map(async (mailbox) => {
    const entries = parseMbox(await readFile(join(folder, mailbox), "utf8"));
    return entries.map((entry) => ({ mailbox, ...entry }));
  });
  return (await Promise.all(mailboxes)).flat();
}

/**
 * The Message-ID of every whole mail in some folders: twice if it is there twice. What broke off when a process was killed
 * is no mail.
 */
export async function sentMails(...folders: readonly string[]): Promise<string[]> {
  const mails = (await Promise.all(folders.map(readMailboxes))).flat();
  return mails.filter(({ source }) => source.trimEnd().endsWith(LAST_LINE)).map((mail) => mail.messageId);
}

/** @throws {Error} If the text does not begin with a mail. */
export function parseMbox(text: string): Omit<StoredMail, "mailbox">[] {
  if (text === "") return [];
  if (!text.startsWith("From ")) throw new Error("Cannot read a mailbox: it does not begin with a mail");
  return text
    .slice("From ".length)
    .replace(/\n$/, "")
    .split("\nFrom ")
    .map((entry) => {
      const [from = "", ...lines] = entry.split("\n");
      // The empty line behind a mail is not of it.
      if (lines.at(-1) === "") lines.pop();
      const source = lines.map((line) => `${line.replace(/^>(?=>*From )/, "")}\r\n`).join("");
      const messageId = /^Message-ID:\s+(<[^>]*>)\r\n/im.exec(source)?.[1] ?? "";
      return { from, messageId, source };
    });
}
