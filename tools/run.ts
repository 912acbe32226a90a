import { NatsServerError } from "./nats_server.mjs";
import { StartError } from "./start_error.ts";
import { type Shop, type ShopOptions, startShop } from "./supervisor.ts";

/** Ctrl-C ends with these, a terminal that is closed with the last. */
const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * One Ctrl-C under `npm start` arrives twice: from the terminal, and passed on by npm. What comes this close to the
 * first is the same one.
 */
const sameKeyPressMs = 500;

/** The exit code of a program that ended by Ctrl-C. */
const interrupted = 130;

/**
 * Runs a shop in the foreground until SIGINT, SIGTERM or SIGHUP, then drains it. A second Ctrl-C kills all at once
 * and exits with 130.
 *
 * @param onOpen Called once what orders need is ready.
 * @returns The exit code: 0 after a drain, 1 if the shop could not start; the reason has been reported then.
 */
export async function runShop(
  options: ShopOptions,
  onOpen: (shop: Shop) => void | Promise<void>,
): Promise<number> {
  const { report = (line: string) => process.stderr.write(`${line}\n`) } = options;
  const stop = new AbortController();
  let stopAt = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    if (!stop.signal.aborted) {
      stopAt = performance.now();
      report("stopping: work in hand is finished first; Ctrl-C again kills at once");
      stop.abort();
    } else if (signal === "SIGINT" && performance.now() - stopAt > sameKeyPressMs) {
      // The shop's processes go with this one.
      process.exit(interrupted);
    }
  };
  for (const signal of stopSignals) process.on(signal, onSignal);
  try {
    const shop = await startShop({ ...options, report, signal: stop.signal });
    await onOpen(shop);
    await aborted(stop.signal);
    await shop.shutdown();
  } catch (error) {
    if (!stop.signal.aborted) {
      if (!(error instanceof StartError || error instanceof NatsServerError)) throw error;
      report(error.message);
      return 1;
    }
  } finally {
    for (const signal of stopSignals) process.off(signal, onSignal);
  }
  report("stopped");
  return 0;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
