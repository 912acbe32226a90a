import type { Log } from "../nats/mod.ts";

const LOOK_EVERY_MS = 100;
/** What a service waits for is told after so long, and again each time that it has waited twice as long. */
const LATE_AFTER_MS = 10_000;

/**
 * Logs "listening" once, when the service has started: when all checks have passed, but for what an operator has set to
 * fail. Before that it may still be refused. As long as it has not started, it logs what it waits for.
 */
export function sayWhenReady(
  checks: Readonly<Record<string, () => boolean>>,
  { url, log, stack }: { url: string; log: Pick<Log, "info" | "warn">; stack: AsyncDisposableStack },
): void {
  let late = LATE_AFTER_MS;
  const began = performance.now();
  const look = () => {
    const waitsFor = Object.keys(checks).filter((name) => name !== "faults" && checks[name]?.() !== true);
    if (waitsFor.length === 0) {
      clearInterval(timer);
      log.info({ url }, "listening");
    } else if (performance.now() - began >= late) {
      log.warn({ url, waits_for: waitsFor }, `not ready after ${late / 1_000} s`);
      late *= 2;
    }
  };
  const timer = setInterval(look, LOOK_EVERY_MS);
  stack.defer(() => clearInterval(timer));
  look();
}
