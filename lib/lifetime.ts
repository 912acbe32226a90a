import type { Logger } from "pino";
import { StartError } from "./config.ts";
import { createLog, flushLog, takeConsole } from "./log.ts";

/** A drain that takes longer than this is stuck, and whoever asked for it is about to kill the process. */
const MAX_DRAIN_MS = 15_000;

/** What a service is given to live with. */
export interface Life {
  /** Whatever is put here is disposed of when the service stops, last first. */
  readonly stack: AsyncDisposableStack;
  readonly log: Logger;
  /** Stops the service with exit code 1, so that it is started again. */
  readonly fail?: (cause: Error) => void;
}

/**
 * Runs a service from start to end. `start` puts what it opens on `stack`; on SIGTERM, SIGINT, or when the parent
 * process that holds an IPC channel to this one goes away, the stack is disposed of in reverse order and the process
 * exits with 0. A failure to start, or to go on, disposes of what is open and exits with 1.
 */
export async function run(service: string, start: (life: Life) => Promise<void>): Promise<void> {
  const log = createLog(service);
  takeConsole(log);
  const asked = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => asked.resolve(signal));
  process.on("disconnect", () => asked.resolve("parent gone"));

  const stack = new AsyncDisposableStack();
  const started = start({ stack, log, fail: asked.reject });
  try {
    const why = await Promise.race([asked.promise, started.then(() => asked.promise)]);
    log.info({ why }, "stopping");
  } catch (cause) {
    fail(log, cause);
    process.exitCode = 1;
  }
  const stuck = setTimeout(() => {
    log.fatal("could not stop in time");
    process.exit(1);
  }, MAX_DRAIN_MS);
  try {
    await stack.disposeAsync();
  } catch (cause) {
    log.error({ err: cause }, "could not stop cleanly");
    process.exitCode = 1;
  }
  clearTimeout(stuck);
  if (process.exitCode !== 1) log.info("stopped");
  await flushLog();
  // An open IPC channel would keep the process alive; a start that was interrupted may hang.
  process.exit();
}

/** One clear line for what a person can mend, the whole error for what is a bug. */
function fail(log: Logger, cause: unknown): void {
  if (cause instanceof StartError) log.fatal(cause.message);
  else log.fatal({ err: cause }, "cannot start");
}
