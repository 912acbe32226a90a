/** A file of apt sources: `*.sources` are deb822, others one line a source. */
export interface SourcesFile {
  readonly name: string;
  readonly text: string;
}

/** A package, and the file of it that is wanted. */
export interface DebianPackage {
  readonly name: string;
  /** Path below `/`. */
  readonly binary: string;
  /** `installed`: that of the release which the machine runs, whose libraries it has. */
  readonly suite: "testing" | "installed";
}

/**
 * Downloads a package of Debian's into `folder` and unpacks it there. apt verifies its signature. Where from follows from
 * the machine's own apt sources; all of apt's state of it stays in `folder`.
 *
 * @param wanted Default: nats-server, from testing.
 * @returns The path of its binary.
 * @throws {Error} Saying why there is none to be had.
 */
export function fetchDebianPackage(folder: string, wanted?: DebianPackage): string;

/** A package that is no single file, and what it needs. */
export interface DebianSelection extends Omit<DebianPackage, "binary"> {
  /** Whether to fetch one of the packages that apt would install for it, by name. */
  readonly includes: (name: string) => boolean;
}

/**
 * As {@link fetchDebianPackage}, with those of the packages it depends on that the machine has not installed.
 *
 * @returns The folder that stands for `/`.
 * @throws {Error} Saying why there is none to be had.
 */
export function fetchWithLibraries(folder: string, wanted: DebianSelection): string;

/**
 * The sources of `files` that are Debian's main archive as far as one can tell, each as a deb822 stanza turned to `suite`;
 * the likeliest first. Mirrors, keyrings and other options stay as they are.
 *
 * @param options `codename` of the release that the machine runs.
 */
export function debianSources(
  files: readonly SourcesFile[],
  options: { codename: string | undefined; suite: string },
): string[];
