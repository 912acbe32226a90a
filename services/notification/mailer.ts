import type { SendMailOptions } from "nodemailer";

export { isMailAddress } from "../../lib/mod.ts";

export type MailKind = "order_received" | "order_completed" | "order_cancelled";

/** One mail, the same to the byte on every try. */
export interface Letter {
  orderId: string;
  kind: MailKind;
  /** One address, without a name. */
  to: string;
  /** With its angle brackets. */
  messageId: string;
  /** When the event that it is about was stored. */
  date: Date;
  subject: string;
  text: string;
}

/**
 * - `sent`: the mail server, or the disk, has it.
 * - `unavailable`: it may have it or not, and the mail is not at fault. It has to be sent again.
 * - `refused`: it does not take this mail, now or later.
 */
export type SendResult =
  | { kind: "sent" }
  | { kind: "unavailable"; reason: string }
  | { kind: "refused"; reason: string };

export interface SendOptions {
  /** Aborts when the service stops: what has not been begun is left, what has been begun is finished. */
  signal: AbortSignal;
  /** 1 for the first try. */
  attempt: number;
}

/** Something that takes mails. A letter that is sent again is stored once, or bears the same Message-ID. */
export interface Mailer extends AsyncDisposable {
  send(letter: Letter, options: SendOptions): Promise<SendResult>;
}

/** A letter as nodemailer wants it. */
export function toMessage({ to, messageId, date, subject, text }: Letter): SendMailOptions {
  return {
    // As an object, an address is one address and is not parsed: no comma or line break in it makes another one.
    to: { name: "", address: to },
    messageId,
    date,
    subject,
    text,
    // Keeps out-of-office replies away (RFC 3834).
    headers: { "Auto-Submitted": "auto-generated" },
  };
}
