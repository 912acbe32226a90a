/** Where a release is, and what of it is wanted. Default of all: nats-server's. */
export interface ReleaseOptions {
  /** URL of the folder of releases, each in a folder `v<version>`. */
  readonly base?: string;
  /** Name of the archive without `.tar.gz`, and of the folder in it, for `linux-amd64` for example. */
  readonly nameFor?: (platform: string) => string;
  /** File with the checksums of all archives. Default `SHA256SUMS`. */
  readonly sumsFile?: string;
  /** File in the archive's folder. */
  readonly binary?: string;
}

/**
 * Downloads release `version` (`"2.15.1"`) for this machine into `folder`, checks it against the checksums published with
 * it, and unpacks it there.
 *
 * @returns The binary's path.
 * @throws {Error} Saying why there is none to be had.
 */
export function fetchRelease(folder: string, version: string, options?: ReleaseOptions): Promise<string>;
