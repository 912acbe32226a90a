import type { DescField, DescMessage, DescOneof } from "@bufbuild/protobuf";
import { DifferenceType } from "./difference.ts";
import { compareFields, isRequired } from "./fields.ts";
import { matchOneofs, membersText, moveOf, type Oneofs, originsOf } from "./oneofs.ts";
import { fieldText } from "./text.ts";
import type { Pair, Place, Walk } from "./walk.ts";

/** Compares the fields and oneofs of two messages, and reaches the types that they lead to. */
export function compareMessage(walk: Walk, pair: Pair<DescMessage>): void {
  const { before, after, path, entry } = pair;
  const fieldsBefore = new Map(before.fields.map((field) => [field.number, field]));
  const fieldsAfter = new Map(after.fields.map((field) => [field.number, field]));
  const oneofs = matchOneofs(before, after);
  for (const field of before.fields) {
    const place = { path: `${path}/${field.number}`, entry };
    const other = fieldsAfter.get(field.number);
    if (other === undefined) {
      walk.add(removalOf(field, oneofs), place.path, { old: fieldText(field) });
    } else {
      compareFields(walk, { before: field, after: other }, place);
      compareMembership(walk, { before: field, after: other, oneofs }, place);
    }
  }
  for (const field of after.fields) {
    if (fieldsBefore.has(field.number)) continue;
    walk.add(additionOf(field, oneofs), `${path}/${field.number}`, { new: fieldText(field) });
  }
  for (const oneof of before.oneofs)
    compareOneof(walk, { before: oneof, after: oneofs.afterOf.get(oneof) }, path);
  for (const oneof of after.oneofs) {
    if (!oneofs.beforeOf.has(oneof)) addOneof(walk, { oneof, fieldsBefore }, path);
  }
}

function removalOf(field: DescField, { afterOf }: Oneofs): DifferenceType {
  if (isRequired(field)) return DifferenceType.RequiredFieldRemoved;
  const stays = field.oneof !== undefined && afterOf.has(field.oneof);
  return stays ? DifferenceType.OneofFieldRemoved : DifferenceType.FieldRemoved;
}

function additionOf(field: DescField, { beforeOf }: Oneofs): DifferenceType {
  if (isRequired(field)) return DifferenceType.RequiredFieldAdded;
  const existed = field.oneof !== undefined && beforeOf.has(field.oneof);
  return existed ? DifferenceType.OneofFieldAdded : DifferenceType.FieldAdded;
}

function compareMembership(
  walk: Walk,
  { before, after, oneofs }: { before: DescField; after: DescField; oneofs: Oneofs },
  { path }: Place,
): void {
  if (before.oneof === undefined && after.oneof === undefined) return;
  for (const type of moveOf({ before: before.oneof, after: after.oneof }, oneofs)) {
    walk.add(type, path, { old: fieldText(before), new: fieldText(after) });
  }
}

function compareOneof(
  walk: Walk,
  { before, after }: { before: DescOneof; after: DescOneof | undefined },
  path: string,
) {
  if (before.name === after?.name) return;
  const type = after === undefined ? DifferenceType.OneofRemoved : DifferenceType.OneofRenamed;
  walk.add(type, `${path}/${before.name}`, { old: membersText(before), new: after && membersText(after) });
}

/** A oneof that was not there, with the fields that were. */
function addOneof(
  walk: Walk,
  { oneof, fieldsBefore }: { oneof: DescOneof; fieldsBefore: ReadonlyMap<number, DescField> },
  path: string,
): void {
  walk.add(DifferenceType.OneofAdded, `${path}/${oneof.name}`, { new: membersText(oneof) });
  const origins = [...originsOf(oneof, fieldsBefore)];
  if (origins.length > 1) {
    const old = origins.map((it) => (it.kind === "field" ? fieldText(it) : membersText(it))).join(", ");
    const type = DifferenceType.MultipleFieldsMovedToOneof;
    walk.add(type, `${path}/${oneof.name}`, { old, new: membersText(oneof) });
  }
  for (const field of origins.length === 1 ? oneof.fields : []) {
    const old = fieldsBefore.get(field.number);
    if (old === undefined) continue;
    const sides = { old: fieldText(old), new: fieldText(field) };
    walk.add(DifferenceType.FieldMovedToNewOneof, `${path}/${field.number}`, sides);
  }
}
