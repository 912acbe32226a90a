import { readdir, readFile } from "node:fs/promises";

/** A process as the system sees it. */
export interface ProcessFigures {
  residentBytes: number;
  virtualBytes: number;
  cpuSeconds: number;
  openFiles: number;
  maxFiles: number;
  /** Seconds since the epoch. */
  startedAt: number;
}

/** The kernel tells times in these, whatever its own are. */
const TICKS_A_SECOND = 100;

/** From Linux's `/proc`. */
export async function processFigures(pid: number): Promise<ProcessFigures> {
  const read = (path: string) => readFile(`/proc/${path}`, "utf8");
  const [status, limits, stat, system, open] = await Promise.all([
    read(`${pid}/status`),
    read(`${pid}/limits`),
    read(`${pid}/stat`),
    read("stat"),
    readdir(`/proc/${pid}/fd`),
  ]);
  const number = (text: string, name: string) =>
    Number(new RegExp(`^${name}:?\\s+(\\d+)`, "m").exec(text)?.[1]);
  // From the third field on; the second is a name in parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = (field: number) => Number(fields[field - 3]) / TICKS_A_SECOND;
  return {
    residentBytes: number(status, "VmRSS") * 1024,
    virtualBytes: number(status, "VmSize") * 1024,
    cpuSeconds: ticks(14) + ticks(15),
    openFiles: open.length,
    maxFiles: number(limits, "Max open files"),
    startedAt: number(system, "btime") + ticks(22),
  };
}
