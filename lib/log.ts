import { type Logger, pino, stdSerializers } from "pino";
import pretty from "pino-pretty";

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
    // No token, key or means of payment gets into a log, wherever in an entry it stands.
    redact: ["*.authorization", "*.payment_token", "*.paymentToken", "authorization", "payment_token"],
  };
  if (!process.stdout.isTTY) return pino(settings);
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
