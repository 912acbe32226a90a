import type { DescFile } from "@bufbuild/protobuf";
import { compare } from "./compare.ts";
import type { Difference } from "./difference.ts";
import { findReuse } from "./reuse.ts";
import type { CompareOptions } from "./walk.ts";

export const modes = [
  "NONE",
  "BACKWARD",
  "BACKWARD_TRANSITIVE",
  "FORWARD",
  "FORWARD_TRANSITIVE",
  "FULL",
  "FULL_TRANSITIVE",
] as const;
export type Mode = (typeof modes)[number];

export interface CheckOptions extends CompareOptions {
  /**
   * Whether a field may not take the number or the name of one that was removed: data of the version that had it would
   * be misread, and nothing in the versions in between tells. `reserved` makes it impossible; removing a field without
   * it misreads nothing and is let pass. Unlike everything else it looks at all versions, whatever the mode but NONE: it
   * is about those before the latest. Default: false, it may.
   */
  readonly unreservedReuse?: boolean;
}

export interface Version {
  readonly version: number;
  readonly file: DescFile;
}

export interface Incompatibility {
  readonly version: number;
  /**
   * Who cannot read whom: `backward` is a reader with the new schema that reads data of `version`, `forward` one with
   * `version` that reads new data.
   */
  readonly direction: Direction;
  /** Incompatible ones only. `old` is the writer's side. */
  readonly differences: readonly Difference[];
}

type Direction = "backward" | "forward";

/** What each mode promises, and for which versions. */
const promises = {
  NONE: { directions: [], transitive: false },
  BACKWARD: { directions: ["backward"], transitive: false },
  BACKWARD_TRANSITIVE: { directions: ["backward"], transitive: true },
  FORWARD: { directions: ["forward"], transitive: false },
  FORWARD_TRANSITIVE: { directions: ["forward"], transitive: true },
  FULL: { directions: ["backward", "forward"], transitive: false },
  FULL_TRANSITIVE: { directions: ["backward", "forward"], transitive: true },
} as const satisfies Record<Mode, { directions: readonly Direction[]; transitive: boolean }>;

/**
 * What keeps `candidate` from following `versions` under `mode`, the latest version first. Empty: nothing does.
 *
 * @param versions Oldest first, those only that are not deleted. Modes that are not transitive look at the last.
 */
export function check(
  mode: Mode,
  candidate: DescFile,
  versions: readonly Version[],
  options: CheckOptions = {},
): Incompatibility[] {
  const { directions, transitive } = promises[mode];
  const reuses = options.unreservedReuse ? findReuse(candidate, versions) : [];
  return versions
    .map(({ version, file }, index) => ({
      version,
      file,
      isPromised: transitive || index === versions.length - 1,
    }))
    .reverse()
    .flatMap(({ version, file, isPromised }) =>
      directions.map((direction) => {
        const found = isPromised ? compareTowards(direction, { candidate, file, options }) : [];
        const reused = reuses
          .filter((reuse) => reuse.version === version)
          .map(({ difference }) => towards(direction, difference));
        return { version, direction, differences: [...found, ...reused] };
      }),
    )
    .filter(({ differences }) => differences.length > 0);
}

function compareTowards(
  direction: Direction,
  { candidate, file, options }: { candidate: DescFile; file: DescFile; options: CompareOptions },
): Difference[] {
  const all =
    direction === "backward" ? compare(file, candidate, options) : compare(candidate, file, options);
  return all.filter(({ compatible }) => !compatible);
}

/** The writer's side is the old one. */
function towards(direction: Direction, difference: Difference): Difference {
  if (direction === "backward") return difference;
  return { ...difference, old: difference.new, new: difference.old };
}

/**
 * One line for a person, with every difference: from what is written to what it is read as.
 * @param name What the version is called. Default: by its number.
 */
export function describe(
  { version, direction, differences }: Incompatibility,
  name = `version ${version}`,
): string {
  const who =
    direction === "backward"
      ? `The new schema cannot read data of ${name}`
      : `${name[0]?.toUpperCase()}${name.slice(1)} cannot read data of the new schema`;
  return `${who}: ${differences.map((it) => describeDifference(it)).join("; ")}`;
}

/** `FIELD_REMOVED at #/Order/2 (int32 quantity = 2 → nothing)`: the writer's side, then the reader's. */
export function describeDifference({ type, path, old, new: now }: Difference): string {
  if (old === undefined && now === undefined) return `${type} at ${path}`;
  return `${type} at ${path} (${old ?? "nothing"} → ${now ?? "nothing"})`;
}
