import type { DescField, DescMessage, DescOneof } from "@bufbuild/protobuf";
import { DifferenceType } from "./difference.ts";
import { oneofText } from "./text.ts";

/** Which oneof of the one message is which of the other. One that is in neither map has no other. */
export interface Oneofs {
  readonly afterOf: ReadonlyMap<DescOneof, DescOneof>;
  readonly beforeOf: ReadonlyMap<DescOneof, DescOneof>;
}

/** Where a field is before and after, undefined where it is in no oneof. Repeated fields and maps never are. */
export interface Membership {
  readonly before: DescOneof | undefined;
  readonly after: DescOneof | undefined;
}

/**
 * Matches oneofs by name; one whose name is gone, with the one of a new name that has most of its members: it is
 * renamed, and what it loses with that is lost all the same. The synthetic oneofs of proto3's `optional` are none.
 */
export function matchOneofs(before: DescMessage, after: DescMessage): Oneofs {
  const afterOf = new Map<DescOneof, DescOneof>();
  const beforeOf = new Map<DescOneof, DescOneof>();
  const match = (from: DescOneof, to: DescOneof) => {
    afterOf.set(from, to);
    beforeOf.set(to, from);
  };
  if (before.oneofs.length === 0 || after.oneofs.length === 0) return { afterOf, beforeOf };
  const byName = new Map(after.oneofs.map((oneof) => [oneof.name, oneof]));
  for (const oneof of before.oneofs) {
    const same = byName.get(oneof.name);
    if (same !== undefined) match(oneof, same);
  }
  const byNumber = new Map(
    after.oneofs.flatMap((oneof) => oneof.fields.map(({ number }) => [number, oneof])),
  );
  for (const oneof of before.oneofs.filter((it) => !afterOf.has(it))) {
    const shared = new Map<DescOneof, number>();
    for (const { number } of oneof.fields) {
      const to = byNumber.get(number);
      if (to !== undefined && !beforeOf.has(to)) shared.set(to, (shared.get(to) ?? 0) + 1);
    }
    const [most] = [...shared].sort(([, a], [, b]) => b - a);
    if (most !== undefined) match(oneof, most[0]);
  }
  return { afterOf, beforeOf };
}

/**
 * What it means that a field that is there before and after is elsewhere. Into a oneof that is new one field may go:
 * {@linkcode originsOf} tells whether it is one.
 */
export function moveOf({ before, after }: Membership, { afterOf, beforeOf }: Oneofs): DifferenceType[] {
  const stayed = before === undefined ? undefined : afterOf.get(before);
  if (stayed === after) return [];
  return [
    ...(stayed === undefined ? [] : [DifferenceType.OneofFieldRemoved]),
    ...(after !== undefined && beforeOf.has(after) ? [DifferenceType.FieldMovedToExistingOneof] : []),
  ];
}

/**
 * Where the members of a oneof come from that were there before: a oneof of which at most one was set, or the field
 * alone. With several origins, several may be set in what was written, and a reader keeps the last one only.
 */
export function originsOf(
  oneof: DescOneof,
  fieldsBefore: ReadonlyMap<number, DescField>,
): Set<DescOneof | DescField> {
  const members = oneof.fields.flatMap(({ number }) => fieldsBefore.get(number) ?? []);
  return new Set(members.map((field) => field.oneof ?? field));
}

/** A oneof with its members: `oneof payment { card, invoice }`. */
export function membersText(oneof: DescOneof): string {
  return `${oneofText(oneof)} { ${oneof.fields.map(({ name }) => name).join(", ")} }`;
}
