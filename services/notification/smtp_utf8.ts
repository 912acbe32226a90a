import { once } from "node:events";
import { parseConnectionUrl } from "nodemailer/lib/shared";
import SMTPConnection from "nodemailer/lib/smtp-connection";

/** Whether an address can only be handed to a server with SMTPUTF8 (RFC 6531). A domain beyond ASCII goes as punycode. */
export function needsUtf8(address: string): boolean {
  return /[^\p{ASCII}]/u.test(address.slice(0, address.lastIndexOf("@")));
}

/**
 * Asks the mail server whether it has SMTPUTF8, on a connection of its own: nodemailer sends such an address to a server that has it
 * not, too, and does not tell. What comes of that is up to the server, from a refusal to a mail to another address.
 *
 * @throws {Error} nodemailer's, if the server does not answer.
 */
export async function hasUtf8(url: string, { timeoutMs }: { timeoutMs: number }): Promise<boolean> {
  const connection = new SMTPConnection({
    ...parseConnectionUrl(url),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
  });
  try {
    connection.connect();
    await once(connection, "connect");
    // To EHLO, behind STARTTLS where there is that.
    return /^250[- ]SMTPUTF8\b/im.test(connection.lastServerResponse || "");
  } finally {
    connection.quit();
  }
}
