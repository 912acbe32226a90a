import { existsSync, writeFileSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/**
 * Lets others go before a process that was started in a session of its own, where there are too few cores. Where Linux has
 * autogroups (`sched(7)`), it shares the cores among sessions first: the niceness of threads counts within one only.
 *
 * @param options.niceness Up to 19. If whoever starts it has that or more, it stays as it is: only root could give up that.
 * @param options.report Told if the session competes with the others all the same.
 */
export function lowerPriority(
  pid: number,
  { niceness, report }: { niceness: number; report: (line: string) => void },
): void {
  if (niceness <= getPriority()) return;
  try {
    setPriority(pid, niceness);
    const autogroup = `/proc/${pid}/autogroup`;
    if (existsSync(autogroup)) writeFileSync(autogroup, `${niceness}`);
  } catch (cause) {
    // Who is not root may set one in a tenth of a second, for example.
    report(`cannot lower the priority of process ${pid}: ${(cause as Error).message}`);
  }
}
