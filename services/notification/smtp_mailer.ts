import { createTransport } from "nodemailer";
import { type Mailer, type SendResult, toMessage } from "./mailer.ts";
import { hasUtf8, needsUtf8 } from "./smtp_utf8.ts";

export interface SmtpMailerOptions {
  /** `smtp://` or `smtps://`, with credentials where there are any. */
  url: string;
  from: string;
}

/** Connections to the mail server, each with one mail at a time. Servers refuse more than a few of one client. */
const MAX_CONNECTIONS = 5;
const CONNECT_TIMEOUT_MS = 10_000;
/** Silence of a connected server. Some take their time to look at a mail before they accept it. */
const SOCKET_TIMEOUT_MS = 60_000;

/**
 * Hands mails to an SMTP server. What the server accepted and could not confirm, because the connection broke, is
 * handed over again under the same Message-ID, which is all that SMTP has against a second copy.
 */
export function createSmtpMailer({ url, from }: SmtpMailerOptions): Mailer {
  const transport = createTransport(
    {
      url,
      pool: true,
      maxConnections: MAX_CONNECTIONS,
      // Trying again is the ledger's, which outlives this process.
      maxRequeues: 0,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      greetingTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SOCKET_TIMEOUT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    },
    { from },
  );
  const inLine = limit(MAX_CONNECTIONS);
  return {
    // A mail that was never tried goes before those that the server has turned away.
    send: (letter, { signal, attempt }) =>
      inLine({ first: attempt === 1 }, async () => {
        // A mail under way when the service stops is finished, or it would be sent twice; the others are left.
        signal.throwIfAborted();
        try {
          if (needsUtf8(letter.to) && !(await hasUtf8(url, { timeoutMs: CONNECT_TIMEOUT_MS }))) return noUtf8;
          await transport.sendMail(toMessage(letter));
          return { kind: "sent" };
        } catch (cause) {
          return afterFailure(cause);
        }
      }),
    async [Symbol.asyncDispose]() {
      transport.close();
    },
  };
}

const noUtf8: SendResult = {
  kind: "refused",
  reason:
    "The mail server has no SMTPUTF8, without which there is no mail to an address that is not ASCII before the @",
};

/** What nodemailer throws, by the codes of its `ERROR_CODES`. An error without a code is none of it. */
interface SmtpError extends Error {
  code?: string;
  /** The server's, undefined if it did not come to that. */
  responseCode?: number;
  /** SMTP command that failed. */
  command?: string;
}

/**
 * Whose fault it was. A mail that the server refuses for good (RFC 5321: 5yz at the recipient or the content), or that
 * is none, is refused. All else is between the server and us, where waiting or a person helps: no connection, 4yz, wrong
 * credentials, a sender that the server does not take.
 *
 * @throws `cause`, if it is not the transport's.
 */
function afterFailure(cause: unknown): SendResult {
  const { code, responseCode, command, message: reason } = cause as SmtpError;
  if (typeof code !== "string") throw cause;
  const ofTheMail = (code === "EENVELOPE" || code === "EMESSAGE") && command !== "MAIL FROM";
  const forGood = responseCode === undefined || (responseCode >= 500 && responseCode !== 503);
  if (ofTheMail && forGood) return { kind: "refused", reason };
  return { kind: "unavailable", reason };
}

/** Lets at most `slots` pieces of work run at a time, first come first served in each of two lines. */
function limit(slots: number): <T>(line: { first: boolean }, work: () => Promise<T>) => Promise<T> {
  let free = slots;
  const first = new Set<() => void>();
  const second = new Set<() => void>();
  const takeNext = () => {
    for (const line of [first, second]) {
      for (const next of line) {
        line.delete(next);
        return next;
      }
    }
    return undefined;
  };
  return async (line, work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => (line.first ? first : second).add(resolve));
    try {
      return await work();
    } finally {
      const next = takeNext();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
