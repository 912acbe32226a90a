import type { DescEnum, DescMessage } from "@bufbuild/protobuf";
import { DifferenceType } from "./difference.ts";
import { enumText, messageText, relativeName } from "./text.ts";
import type { Walk } from "./walk.ts";

/** What a file or a message declares. Nested ones are told only if what they are nested in is on both sides. */
export interface Declarations {
  readonly messages: readonly DescMessage[];
  readonly enums: readonly DescEnum[];
}

/** Messages that one side does not declare at this place. They may be declared elsewhere. */
export interface Missing {
  readonly removed: readonly DescMessage[];
  readonly added: readonly DescMessage[];
}

/** Matches what is declared by name, and reaches it. Whether a missing message is removed is known after the walk. */
export function compareDeclarations(walk: Walk, before: Declarations, after: Declarations): Missing {
  compareEnums(walk, before.enums, after.enums);
  const { pairs, removed, added } = matchByName(before.messages, after.messages);
  const nested = pairs.map(([old, now]) => {
    walk.reach(old, now);
    return compareDeclarations(walk, nestedIn(old), nestedIn(now));
  });
  reportOrder(walk, pairs, after.messages);
  return {
    removed: [...removed, ...nested.flatMap((missing) => missing.removed)],
    added: [...added, ...nested.flatMap((missing) => missing.added)],
  };
}

export function nestedIn({ nestedMessages, nestedEnums }: DescMessage): Declarations {
  return { messages: nestedMessages, enums: nestedEnums };
}

function compareEnums(walk: Walk, before: readonly DescEnum[], after: readonly DescEnum[]): void {
  const { pairs, removed, added } = matchByName(before, after);
  for (const [old, now] of pairs) walk.reach(old, now);
  for (const one of removed) {
    walk.add(DifferenceType.EnumRemoved, `#/${relativeName(one)}`, { old: enumText(one) });
  }
  for (const one of added)
    walk.add(DifferenceType.EnumAdded, `#/${relativeName(one)}`, { new: enumText(one) });
}

interface Matched<T> {
  /** In the order of the writer's side. */
  readonly pairs: readonly (readonly [before: T, after: T])[];
  readonly removed: readonly T[];
  readonly added: readonly T[];
}

function matchByName<T extends { name: string }>(before: readonly T[], after: readonly T[]): Matched<T> {
  const old = new Map(before.map((it) => [it.name, it]));
  const now = new Map(after.map((it) => [it.name, it]));
  return {
    pairs: before.flatMap((it) => {
      const other = now.get(it.name);
      return other === undefined ? [] : [[it, other] as const];
    }),
    removed: before.filter(({ name }) => !now.has(name)),
    added: after.filter(({ name }) => !old.has(name)),
  };
}

/** Messages that have another rank among those of both sides: some clients name a message by its index. */
function reportOrder(
  walk: Walk,
  pairs: Matched<DescMessage>["pairs"],
  declared: readonly DescMessage[],
): void {
  const both = new Set(pairs.map(([, after]) => after));
  const ranked = declared.filter((message) => both.has(message));
  for (const [rank, [before, after]] of pairs.entries()) {
    if (ranked[rank] === after) continue;
    const sides = { old: messageText(before), new: messageText(after) };
    walk.add(DifferenceType.MessageMoved, `#/${relativeName(before)}`, sides);
  }
}
