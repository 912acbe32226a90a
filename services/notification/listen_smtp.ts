import { SMTPServer, type SMTPServerOptions, type SMTPServerSession } from "smtp-server";

export interface SmtpOptions extends Omit<SMTPServerOptions, "onData"> {
  /** Default: any. */
  readonly port?: number;
  /** Takes a mail as it was sent, or says why not. */
  onMail(source: string, session: SMTPServerSession): Error | undefined;
}

/** A real SMTP server on 127.0.0.1, without encryption and passwords. For tests. */
export async function listenSmtp({ port = 0, onMail, ...options }: SmtpOptions) {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    closeTimeout: 100,
    ...options,
    onData: (stream, session, done) => {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => done(onMail(Buffer.concat(chunks).toString(), session)));
    },
  });
  // A client that hangs up is an error to this server, and is what some tests are about.
  server.on("error", () => undefined);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", () => resolve()));
  const address = server.server.address();
  if (address === null || typeof address === "string") throw new Error("Cannot learn the port of a server");
  return {
    url: `smtp://127.0.0.1:${address.port}`,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
