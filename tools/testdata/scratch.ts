import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startTime } from "../process_table.ts";

/** A new folder, removed when it goes out of scope. */
export function scratchFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "shop-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, maxRetries: 5 }) };
}

export function isAlive(pid: number | undefined): boolean {
  return pid !== undefined && startTime(pid) !== "";
}

/** Resolves when `condition` holds; after ten seconds it rejects. */
export async function until(condition: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`Not so after 10 s: ${condition}`);
    await sleep(20);
  }
}
