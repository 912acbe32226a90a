import { foldLines } from "nodemailer/lib/mime-funcs";
import MimeNode, { type MimeNodeHeaderValue } from "nodemailer/lib/mime-node";
import { encode, wrap } from "nodemailer/lib/qp";
import type { Letter } from "./mailer.ts";

/**
 * Writes letters as mails (RFC 5322), to the byte as nodemailer's transports do: lines that are the same for all, and
 * between them what differs, in nodemailer's encoding. A transport makes a tree of nodes of each mail and sends it
 * through streams, which costs more than all else that is done about a mail.
 *
 * @param from Sender of all: an address, or `Name <address>`.
 */
export function composer(from: string): (letter: Letter) => string {
  const encoder = new MimeNode("text/plain");
  const line = (name: string, value: MimeNodeHeaderValue) =>
    `${foldLines(`${name}: ${encoder.encodeHeaderValue(name, value)}`)}\r\n`;
  // Keeps out-of-office replies away (RFC 3834).
  const before = line("Auto-Submitted", "auto-generated") + line("From", from);
  const after = [
    "Content-Transfer-Encoding: quoted-printable",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "\r\n",
  ].join("\r\n");
  return ({ to, subject, messageId, date, text }) => {
    const differing = [
      // As an object, an address is one address and is not parsed.
      line("To", { name: "", address: to }),
      line("Subject", subject),
      line("Message-ID", messageId),
      line("Date", date),
    ];
    return before + differing.join("") + after + wrap(encode(text.replace(/\r\n?|\n/g, "\r\n")));
  };
}
