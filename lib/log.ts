import { format } from "node:util";
import { type Logger, pino, stdSerializers } from "pino";
import { type LogOutput, neverBlock, openLogOutput } from "./log_output.ts";

/** Forty files, for nothing where nobody reads along. */
const prettyFactory = process.stdout.isTTY ? (await import("pino-pretty")).prettyFactory : undefined;

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
  const pretty = prettyFactory?.({
    ignore: "service",
    messageFormat: "{service}: {msg}",
    translateTime: "SYS:HH:MM:ss.l",
  });
  const log: Logger = pino(settings, {
    write: (line: string) => output.write(pretty?.(line) ?? line),
  });
  const output = openLogOutput(process.stdout, {
    onResume: (dropped) => log.warn({ dropped }, "lines of this log were dropped: nobody took them"),
  });
  standard = output;
  return log;
}

/** Of the process's log. */
let standard: LogOutput | undefined;

/** Lines that the process has logged and that nobody will see. */
export function droppedLogLines(): number {
  return standard?.dropped ?? 0;
}

/** A reader that has stalled may take the last lines within this time, or never. */
const FLUSH_MS = 1_000;

/** Waits for the log's last lines to be written, a second at most. */
export async function flushLog(): Promise<void> {
  await standard?.flush({ withinMs: FLUSH_MS });
}

/** What libraries print becomes lines of the log. */
export function takeConsole(log: Logger): void {
  neverBlock(process.stderr);
  const levels = { debug: "debug", log: "info", info: "info", warn: "warn", error: "error" } as const;
  for (const [method, level] of Object.entries(levels)) {
    console[method as keyof typeof levels] = (...printed: unknown[]) => {
      const [err] = printed;
      if (err instanceof Error) log[level]({ err }, err.message);
      else log[level](format(...printed));
    };
  }
}
