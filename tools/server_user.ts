import { spawnSync } from "node:child_process";

/** Whom a process becomes, in the system's numbers. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** Debian's package of PostgreSQL makes the first; the second is everywhere. */
const candidates = ["postgres", "nobody"] as const;
/** What `nobody` is to the kernel, which needs no name of it. */
const overflow: ServerUser = { uid: 65_534, gid: 65_534 };

/** Who runs a server that refuses root: undefined, which is this user, unless this is root. */
export function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of candidates) {
    const [uid, gid] = [idOf("-u", name), idOf("-g", name)];
    if (uid !== undefined && gid !== undefined) return { uid, gid };
  }
  return overflow;
}

function idOf(flag: "-u" | "-g", name: string): number | undefined {
  const { status, stdout } = spawnSync("id", [flag, name], { encoding: "utf8" });
  return status === 0 ? Number(stdout) : undefined;
}
