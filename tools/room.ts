import { statfsSync } from "node:fs";

/** A server that completes a batch when it starts may write 4 MB of it, and the files of its consumers. */
const MIN_FREE_MIB = 32;

/**
 * Why nats-server must not be started on the disk of `folder`; undefined if there is room. On a full disk it would fail to
 * complete a batch that broke off, and remove its own copy of it all the same: half of it would stay (ADR 11).
 * @param options.besidesMiB What there has to be besides what it needs. Default: nothing.
 */
export function lackOfRoom(folder: string, { besidesMiB = 0 } = {}): string | undefined {
  const { bavail, bsize } = statfsSync(folder);
  const free = Math.floor((bavail * bsize) / 2 ** 20);
  const needed = MIN_FREE_MIB + besidesMiB;
  return free >= needed ? undefined : `${folder} has ${free} MiB free and needs ${needed}; make room`;
}
