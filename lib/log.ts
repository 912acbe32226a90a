import { destination, type Logger, pino, stdSerializers } from "pino";

/** Forty files, for nothing where nobody reads along. */
const pretty = process.stdout.isTTY ? (await import("pino-pretty")).default : undefined;

/** Fields that never get into a log, in an entry itself and in what it holds down to three levels. */
const secrets = ["authorization", "payment_token", "paymentToken", "password"];

/**
 * A logger of one service: JSON, one line an entry, with `service`; readable when the output is a terminal.
 * Fields have one name everywhere: `order_id`, `trace_id`, `err`.
 */
export function createLog(service: string): Logger {
  const settings = {
    base: { service },
    serializers: { err: stdSerializers.err },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: secrets.flatMap((name) => [name, `*.${name}`, `*.*.${name}`, `*.*.*.${name}`]),
  };
  // Written at once and in order, up to the last line before the process ends.
  if (pretty === undefined) return pino(settings, destination({ fd: 1, sync: true }));
  return pino(
    settings,
    pretty({
      sync: true,
      ignore: "service",
      messageFormat: "{service}: {msg}",
      translateTime: "SYS:HH:MM:ss.l",
    }),
  );
}
