import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Command and arguments, with spaces between them; empty if there is no such process. */
export function commandLine(pid: number): string {
  return fromProc(pid, "cmdline")?.replaceAll("\0", " ") ?? ps(pid, "command");
}

/** When the process started, in the system's own terms; empty if there is no such process, or only its exit code. */
export function startTime(pid: number): string {
  const stat = fromProc(pid, "stat");
  if (stat === undefined) return ps(pid, "lstart");
  // The third field is the state, the 22nd the time; the second is a name in parentheses that may hold anything.
  const [state, ...rest] = stat.split(") ").at(-1)?.split(" ") ?? [];
  return state === "Z" ? "" : (rest[18] ?? "");
}

/** Undefined if this system has no /proc. */
function fromProc(pid: number, file: string): string | undefined {
  if (!existsSync("/proc/self/stat")) return undefined;
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}

function ps(pid: number, column: string): string {
  return spawnSync("ps", ["-o", `${column}=`, "-p", `${pid}`], { encoding: "utf8" }).stdout?.trim() ?? "";
}

/** The processes whose parent is `pid`. */
export function childrenOf(pid: number): number[] {
  const children = fromProc(pid, join("task", `${pid}`, "children"));
  // Without this file the kernel was built for something small.
  if (children) return children.trim().split(" ").map(Number);
  const { stdout } = spawnSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" });
  const rows = (stdout ?? "").split("\n").map((line) => line.trim().split(/\s+/).map(Number));
  return rows.flatMap(([child, parent]) => (parent === pid && child !== undefined ? [child] : []));
}
