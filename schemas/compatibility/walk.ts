import type { DescEnum, DescFile, DescMessage } from "@bufbuild/protobuf";
import { isWellKnown } from "../files.ts";
import { type Difference, DifferenceType, isCompatible } from "./difference.ts";
import { relativeName } from "./text.ts";

export interface CompareOptions {
  /**
   * Whether a reader may not take for `string` what was written as `bytes`: it throws where that is no UTF-8.
   * Default: false, it may.
   */
  readonly bytesToString?: boolean;
}

/** A place in the schemas that are compared. */
export interface Place {
  readonly path: string;
  /** The field of the own file by which another file was entered, undefined in the own one. */
  readonly entry: string | undefined;
}

/** Two types that data of the one is read as the other of. */
export interface Pair<T> extends Place {
  readonly before: T;
  readonly after: T;
}

/**
 * Fields and enum values of both sides that one comparison looks at: a quarter of a second at the worst, and more than
 * anybody's schema has. Types are compared in pairs, so schemas that are made for it have pairs without end.
 */
const MAX_LOOKED_AT = 200_000;

/** One comparison under way: what was found, and what is to be looked at. */
export class Walk {
  readonly options: CompareOptions;
  readonly differences: Difference[] = [];
  readonly #own: { readonly before: DescFile; readonly after: DescFile };
  readonly #reached = new Map<DescMessage | DescEnum, Set<DescMessage | DescEnum>>();
  readonly #successors = new Set<DescMessage | DescEnum>();
  readonly #messages: Pair<DescMessage>[] = [];
  readonly #enums: Pair<DescEnum>[] = [];
  #lookedAt = 0;

  constructor(own: { before: DescFile; after: DescFile }, options: CompareOptions) {
    this.#own = own;
    this.options = options;
  }

  add(
    type: DifferenceType,
    path: string,
    sides: { old?: string | undefined; new?: string | undefined },
  ): void {
    const compatible = isCompatible[type];
    this.differences.push({ type, path, old: sides.old, new: sides.new, compatible });
  }

  /**
   * Notes that data of `before` is read as `after`, to be looked at once, however often it is reached: types may
   * contain each other.
   * @param from The field that leads there; of a declaration it is none.
   */
  reach<T extends DescMessage | DescEnum>(before: T, after: T, from?: Place): void {
    // A type is equal to itself; and well-known ones are the compiler's, whichever release of them it has.
    if ((before as unknown) === after) return;
    if (isWellKnown(before.file.proto.name) && before.typeName === after.typeName) return;
    const reached = this.#reached.get(before) ?? new Set();
    if (reached.has(after)) return;
    this.#reached.set(before, reached.add(after));
    if (before.typeName === after.typeName) this.#successors.add(after);
    const pair = { before, after, ...this.#placeOf(before, after, from) };
    if (before.kind === "message") this.#messages.push(pair as Pair<DescMessage>);
    else this.#enums.push(pair as Pair<DescEnum>);
  }

  /** The message of the same full name that data of `before` is read as, if something has led to it. */
  successorOf(before: DescMessage): DescMessage | undefined {
    const reached = this.#reached.get(before) ?? [];
    for (const after of reached) {
      if (after.kind === "message" && after.typeName === before.typeName) return after;
    }
    return undefined;
  }

  /** Whether data of a message of the same full name is read as `after`. */
  isSuccessor(after: DescMessage): boolean {
    return this.#successors.has(after);
  }

  /** Whether `look` may go on with so many more things. Says once that it may not. */
  #mayLookAt(things: number): boolean {
    const could = this.#lookedAt <= MAX_LOOKED_AT;
    this.#lookedAt += things + 1;
    const can = this.#lookedAt <= MAX_LOOKED_AT;
    if (could && !can) this.add(DifferenceType.SchemaTooLarge, "#/", {});
    return can;
  }

  /** Looks at all that was reached and is reached by that, the nearest first, so that paths enter early. */
  run(look: { message(pair: Pair<DescMessage>): void; enum(pair: Pair<DescEnum>): void }): void {
    for (const pair of drain(this.#messages)) {
      if (!this.#mayLookAt(pair.before.fields.length + pair.after.fields.length)) return;
      look.message(pair);
    }
    for (const pair of drain(this.#enums)) {
      if (!this.#mayLookAt(pair.before.values.length + pair.after.values.length)) return;
      look.enum(pair);
    }
  }

  #placeOf(before: DescMessage | DescEnum, after: DescMessage | DescEnum, from: Place | undefined): Place {
    const isOwn = before.file === this.#own.before || after.file === this.#own.after;
    if (isOwn || from === undefined) return { path: `#/${relativeName(before)}`, entry: undefined };
    const entry = from.entry ?? from.path;
    return { path: `${entry}/${before.typeName}`, entry };
  }
}

/** The items of a list that grows while they are looked at; empty afterwards. */
function* drain<T>(list: T[]): Generator<T> {
  for (let at = 0; at < list.length; at++) yield list[at] as T;
  list.length = 0;
}
