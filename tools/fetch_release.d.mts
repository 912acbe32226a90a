/**
 * Downloads nats-server's release `version` (`"2.15.1"`) for this machine into `folder`, checks it against the
 * checksums published with it, and unpacks it there.
 *
 * @param options `base`: URL of the folder of releases. Default: where nats-server's are published.
 * @returns The binary's path.
 * @throws {Error} Saying why there is none to be had.
 */
export function fetchRelease(folder: string, version: string, options?: { base?: string }): Promise<string>;
