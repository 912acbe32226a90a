/** A file of apt sources: `*.sources` are deb822, others one line a source. */
export interface SourcesFile {
  readonly name: string;
  readonly text: string;
}

/**
 * Downloads nats-server's package from Debian's testing suite into `folder` and unpacks it there. apt verifies its
 * signature. Where from follows from the machine's own apt sources; all of apt's state of it stays in `folder`.
 *
 * @returns The binary's path.
 * @throws {Error} Saying why there is none to be had.
 */
export function fetchDebianPackage(folder: string): string;

/**
 * The sources of `files` that are Debian's main archive as far as one can tell, each as a deb822 stanza turned to the
 * testing suite; the likeliest first. Mirrors, keyrings and other options stay as they are.
 *
 * @param codename Of the release that the machine runs.
 */
export function testingSources(files: readonly SourcesFile[], codename: string | undefined): string[];
