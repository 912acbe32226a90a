import { setTimeout as sleep } from "node:timers/promises";

/**
 * Asks again and again until `check` returns something other than undefined or false, and returns that.
 * @throws {Error} If it does not within `timeoutMs` (default 10,000), naming `what` was waited for.
 */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  options: { timeoutMs?: number } = {},
): Promise<T> {
  const deadline = performance.now() + (options.timeoutMs ?? 10_000);
  for (;;) {
    const result = await check();
    if (result !== undefined && result !== false) return result;
    if (performance.now() > deadline) throw new Error(`Cannot wait any longer for ${what}`);
    await sleep(20);
  }
}
