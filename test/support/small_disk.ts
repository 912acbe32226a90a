import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A file system of its own size, in memory: what is written there is gone with the machine and not with a process. */
export interface SmallDisk extends Disposable {
  /** Takes all of the room that is left. */
  fill(): void;
  /** Gives back what was filled. */
  clear(): void;
}

/**
 * Mounts one at `folder`, which wants Linux, and root or `sudo` that asks for no password.
 * @throws {Error} If this process may not mount.
 */
export function mountSmallDisk(folder: string, { bytes }: { bytes: number }): SmallDisk {
  mkdirSync(folder, { recursive: true });
  asRoot("mount", "-t", "tmpfs", "-o", `size=${bytes},mode=1777`, "tmpfs", folder);
  const filler = join(folder, "filler");
  return {
    fill() {
      const { bavail, bsize } = statfsSync(folder);
      try {
        writeFileSync(filler, Buffer.alloc(bavail * bsize));
      } catch (cause) {
        // Somebody else took the last of it meanwhile: full it is.
        if ((cause as NodeJS.ErrnoException).code !== "ENOSPC") throw cause;
      }
    },
    clear: () => rmSync(filler, { force: true }),
    // Lazily: a server that is just being killed still has files open there.
    [Symbol.dispose]: () => asRoot("umount", "--lazy", folder),
  };
}

function asRoot(...command: string[]): void {
  const [program = "", ...args] = process.getuid?.() === 0 ? command : ["sudo", "-n", ...command];
  execFileSync(program, args, { stdio: "pipe" });
}
