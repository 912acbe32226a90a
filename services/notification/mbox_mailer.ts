import { hash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "../../lib/mod.ts";
import { makeFolder } from "../../nats/mod.ts";
import { Mailboxes } from "./mailboxes.ts";
import type { Mailer } from "./mailer.ts";
import { mboxEntry } from "./mbox.ts";
import { composer } from "./mime.ts";

export interface MboxMailerOptions {
  /** Mails go to `<dataDir>/mail/<two hex digits>.mbox`, those of one order to the same mailbox. */
  dataDir: string;
  from: string;
}

/**
 * Mailboxes for those who have no mail server at hand, which any mail program opens. Not a file for each mail: to make one
 * costs a hundred times what it costs to write to one that is there, and was what the whole shop waited for.
 *
 * A mail that is sent again is there once: its mailbox is looked through first. Only two processes that send the same
 * mail at the same moment store it twice, with the same Message-ID.
 *
 * Mailboxes are not synced. They stand in for a mail server on a developer's machine: after a power cut the last seconds of
 * them may be missing although the ledger has them as sent, and to rule that out would slow every order down.
 *
 * @throws {StartError} If the folder cannot be written. Node's permissions cover what is in a folder only if it exists
 * when the process starts, so that whoever starts the process creates it.
 */
export async function createMboxMailer({ dataDir, from }: MboxMailerOptions): Promise<Mailer> {
  const folder = join(dataDir, "mail");
  const startedAt = new Date();
  try {
    makeFolder(folder);
    // One mailbox of 256 stands for all.
    closeSync(openSync(join(folder, "00.mbox"), "a+"));
  } catch (cause) {
    const text = `Cannot start notification: create the folder ${folder} and let it be written`;
    throw new StartError(text, { cause });
  }
  const compose = composer(from);
  const mailboxes = new Mailboxes(folder);
  return {
    async send(letter, { attempt }) {
      const entry = Buffer.from(mboxEntry(compose(letter), letter.date));
      // A first try may be a second one: a consumer that was made anew, or a server that died, has not counted what it
      // delivered to the process before this one. Its date is when the event was stored, and tells.
      const unlessThere = attempt > 1 || letter.date <= startedAt;
      mailboxes.append(mailboxOf(letter.orderId), entry, { unlessThere });
      return { kind: "sent" };
    },
    async [Symbol.asyncDispose]() {
      mailboxes.close();
    },
  };
}

/**
 * Spreads orders over 256 mailboxes: few enough to stay open, and each small enough to be looked through. Hashed, since an
 * order's id is not for naming files.
 */
function mailboxOf(orderId: string): string {
  return `${hash("sha256", orderId).slice(0, 2)}.mbox`;
}
