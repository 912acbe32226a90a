import { statfs } from "node:fs/promises";
import type { Log } from "../../nats/mod.ts";

const MIB = 2 ** 20;
/** Room for the rest of the way of ten thousand orders, and for the server's own files: no order is accepted beneath it. */
export const RESERVE_MIB = 256;
/** Of a small disk the reserve is this share at most. */
export const RESERVE_SHARE = 1 / 8;

/** How much room there is on the disk that the servers store on. What fills it need not be the shop. */
export class DiskWatch {
  readonly #path: string;
  readonly #log: Log;
  #full = false;
  #freeMiB: number | undefined;
  #isUnseen = false;

  /** @param path Anything on that disk which this process may read. */
  constructor(path: string, { log }: { log: Log }) {
    this.#path = path;
    this.#log = log;
  }

  /** Whether less than the reserve was free when it was looked at last. */
  get full(): boolean {
    return this.#full;
  }

  /** Undefined before the first look. */
  get freeMiB(): number | undefined {
    return this.#freeMiB;
  }

  /** Looks at the disk. If it cannot be seen, what was seen last holds, and a warning says so once. */
  async look(): Promise<void> {
    try {
      const { bavail, blocks, bsize } = await statfs(this.#path);
      const free = (bavail * bsize) / MIB;
      this.#full = free < Math.min(RESERVE_MIB, ((blocks * bsize) / MIB) * RESERVE_SHARE);
      this.#freeMiB = Math.floor(free);
      this.#isUnseen = false;
    } catch (cause) {
      if (!this.#isUnseen)
        this.#log.warn({ err: cause, path: this.#path }, "cannot see how full the disk is");
      this.#isUnseen = true;
    }
  }
}
