import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";

/**
 * A program that runs `command` with its arguments and writes each of its syncs to `trace`. Only these calls are
 * stopped, so that it runs about as fast as without; attached to a running process, strace would stop every call of it.
 */
export function tracedCommand(command: string, { trace, script }: { trace: string; script: string }): string {
  // -D: the command keeps the process id and the parent that it would have.
  const strace = `strace -D -f --seccomp-bpf -qq -ttt -s 0 -e trace=fsync,fdatasync,openat -e signal=none -o`;
  writeFileSync(script, `#!/bin/sh\nexec ${strace} ${quoted(trace)} ${quoted(command)} "$@"\n`);
  chmodSync(script, 0o755);
  return script;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Why syncs cannot be counted here; undefined if they can. */
export function whyNoSyncs(): string | undefined {
  try {
    execFileSync("strace", ["-o", "/dev/null", "--seccomp-bpf", "-f", "-e", "trace=fsync", "true"], {
      stdio: "ignore",
    });
    return undefined;
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    return missing ? "strace is not installed" : "strace is not permitted to trace, or is older than 5.3";
  }
}

/** Seconds since 1970. */
export interface Window {
  readonly from: number;
  readonly to: number;
}

/** A call that syncs, or opens a file to sync with each write: of these files each is written once. */
const sync = /^\d+ +(\d+\.\d+) (?:f(?:data)?sync\(|openat\(.*\bO_D?SYNC\b)/;

/** How many syncs of a trace began within `window`. */
export function countSyncs(trace: string, { from, to }: Window): number {
  return trace.split("\n").filter((line) => {
    const at = Number(sync.exec(line)?.[1]);
    return at >= from && at < to;
  }).length;
}

/** {@linkcode countSyncs} of the file that a {@linkcode tracedCommand} writes. */
export function syncsWithin(trace: string, window: Window): number {
  return countSyncs(readFileSync(trace, "latin1"), window);
}
