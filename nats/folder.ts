import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes `folder` and those above it that are missing; what is there stays. `mkdirSync(…, { recursive: true })` never returns
 * where a file system has no folders to be made and says so by ENOENT, as `/proc` does (Node 26).
 *
 * @param options.mode Of `folder` itself. Default: what the umask leaves of 0o777.
 * @throws {Error} With the system's `code`, if that cannot be done.
 */
export function makeFolder(folder: string, options: { mode?: number } = {}): void {
  try {
    mkdirSync(folder, options);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "EEXIST" && statSync(folder).isDirectory()) return;
    const parent = dirname(folder);
    if (code !== "ENOENT" || parent === folder) throw cause;
    makeFolder(parent);
    mkdirSync(folder, options);
  }
}
