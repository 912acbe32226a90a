import { resolve } from "node:path";
import { z } from "zod";
import { common, type Environment, port, readConfig } from "../../lib/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readNotificationConfig(environment: Environment = process.env) {
  return readConfig(
    "notification",
    {
      ...common,
      NOTIFICATION_PORT: port(8086),
      /**
       * Mail server: `smtp://user:password@host:587?requireTLS=true`, or `smtps://…:465` for TLS from the start. Unset:
       * mails go to mailboxes in `DATA_DIR/mail`.
       */
      SMTP_URL: z.url({ protocol: /^smtps?$/ }).optional(),
      /** Sender of every mail: an address, or `Name <address>`. */
      MAIL_FROM: z
        .string()
        .regex(/^([^<>\r\n]+<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)$/, "an address, or Name <address>")
        .default("Shop <orders@shop.example>"),
      /** Absolute once read. */
      DATA_DIR: z
        .string()
        .default(".data")
        .transform((path) => resolve(path)),
    },
    environment,
  );
}
