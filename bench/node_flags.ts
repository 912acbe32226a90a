/**
 * How every Node process runs that is measured: as the shop's services do under `npm start` (`services/mod.ts`). Peers get
 * the same, so that no figure tells of flags.
 */
export const nodeFlags: readonly string[] = ["--max-semi-space-size=32", "--single-threaded-gc"];

/** For the settings of a target of which `what` runs with them. */
export function nodeFlagsSetting(what: string): string {
  return `${what} with \`${nodeFlags.join(" ")}\`.`;
}
