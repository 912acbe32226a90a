/** A nats-server that runs on this machine, and its version, as in `"2.15.1"`. */
export interface NatsServer {
  readonly path: string;
  readonly version: string;
}

export interface FindOptions {
  /** Where NATS_SERVER and PATH come from. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Path of the fetched binary. Default: {@link cachedPath}. */
  readonly cached?: string;
}

/** The oldest version that will do. */
export const minimumVersion: string;
/** The version that tools/setup.mjs fetches where none is found. */
export const releaseVersion: string;
/** The project's folder, absolute. */
export const projectFolder: string;
/** Where tools/setup.mjs keeps a fetched binary. */
export const cachedPath: string;

/** No usable nats-server; the message says what to do about it. */
export class NatsServerError extends Error {}

/**
 * The nats-server to run: what NATS_SERVER names, else the first new enough one on PATH, else the fetched one.
 * Touches neither network nor disk.
 *
 * @throws {NatsServerError} If NATS_SERVER names no working, new enough binary, or if there is none anywhere.
 */
export function findNatsServer(options?: FindOptions): NatsServer;

/**
 * As {@link findNatsServer}, but finding none is an answer. `notes` names each binary that was passed over and why.
 *
 * @throws {NatsServerError} If NATS_SERVER names no working, new enough binary.
 */
export function lookForNatsServer(options?: FindOptions): {
  readonly server: NatsServer | undefined;
  readonly notes: readonly string[];
};

/** The version that the binary at `path` reports, or undefined if it is no working nats-server. */
export function versionOf(path: string): string | undefined;

/** Whether `version` (`"2.15.1"`) is at least {@link minimumVersion}. */
export function isNewEnough(version: string): boolean;

/** One line per system that says how to install nats-server there. */
export function installAdvice(): string;
