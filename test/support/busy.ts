import { spawn, spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";

/** A busy loop ends after so long, whatever becomes of who has started it. */
const MAX_MS = 180_000;
const PER_CORE = 8;
const loop = "const end = Date.now() + Number(process.argv[1]); while (Date.now() < end);";

/** Cores on which eight other programs have work for each all the time. */
export interface BusyCores extends Disposable {
  /** What comes before a command that is to run on these cores alone. */
  readonly prefix: readonly string[];
}

/**
 * Keeps cores busy until it is disposed of. One core where `taskset(1)` can keep a program on it, since other tests run on
 * the others; else all.
 */
export function keepCoresBusy(): BusyCores {
  const prefix = spawnSync("taskset", ["-c", "0", "true"]).status === 0 ? ["taskset", "-c", "0"] : [];
  const count = PER_CORE * (prefix.length > 0 ? 1 : availableParallelism());
  const [command = "", ...args] = [...prefix, process.execPath, "-e", loop, `${MAX_MS}`];
  // Sessions of their own, as the services have: Linux shares its cores among sessions first.
  const loops = Array.from({ length: count }, () =>
    spawn(command, args, { detached: true, stdio: "ignore" }),
  );
  return {
    prefix,
    [Symbol.dispose]() {
      for (const child of loops) child.kill("SIGKILL");
    },
  };
}
