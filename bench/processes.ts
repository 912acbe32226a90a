import { readdirSync, readFileSync } from "node:fs";

/** Linux counts a process's CPU time in hundredths of a second (`USER_HZ`), whatever the kernel's own tick. */
export const MS_PER_TICK = 10;

/** What `/proc/<pid>/stat` tells of one process. */
export interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** Of all its threads, and of its children that have ended. */
  readonly cpuMs: number;
}

/** `text` is the content of `/proc/<pid>/stat`; see proc_pid_stat(5). */
export function parseStat(text: string): Stat {
  // The second field is the command in parentheses, which may hold blanks and parentheses itself.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { pid: Number.parseInt(text, 10), parent: Number(fields[1]), cpuMs: ticks * MS_PER_TICK };
}

/** All processes; undefined where the system has no `/proc`. */
export function readProcesses(): Stat[] | undefined {
  let names: string[];
  try {
    names = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return undefined;
  }
  return names.flatMap((name) => {
    try {
      return [parseStat(readFileSync(`/proc/${name}/stat`, "latin1"))];
    } catch {
      // It has ended since the folder was read.
      return [];
    }
  });
}

/** Each named process with all that descend from it, except for what has a name itself. */
export function families(
  processes: readonly Stat[],
  pids: ReadonlyMap<string, number>,
): Map<string, readonly Stat[]> {
  const named = new Set(pids.values());
  const family = (pid: number): Stat[] => {
    const own = processes.filter((one) => one.pid === pid);
    const children = processes.filter(({ parent, pid: child }) => parent === pid && !named.has(child));
    return [...own, ...children.flatMap((child) => family(child.pid))];
  };
  return new Map([...pids].map(([name, pid]) => [name, family(pid)]));
}

/** CPU time so far in milliseconds, by name; undefined where it cannot be known. */
export function readCpu(pids: ReadonlyMap<string, number>): Record<string, number> | undefined {
  const processes = readProcesses();
  if (processes === undefined) return undefined;
  const all = [...families(processes, pids)];
  return Object.fromEntries(
    all.map(([name, stats]) => [name, stats.reduce((sum, one) => sum + one.cpuMs, 0)]),
  );
}
