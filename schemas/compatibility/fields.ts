import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { DifferenceType } from "./difference.ts";
import { enumGroup, scalarGroups } from "./scalars.ts";
import { fieldText, relativeName, valueText } from "./text.ts";
import type { Place, Walk } from "./walk.ts";

const { LEGACY_REQUIRED } = FeatureSet_FieldPresence;

/**
 * Compares what two fields of one number hold, and reaches the types that they lead to. Their oneofs are another
 * matter. No byte depends on JSON names, default values, packing and other options: they are not looked at.
 */
export function compareFields(
  walk: Walk,
  { before, after }: { before: DescField; after: DescField },
  place: Place,
) {
  const differ = (type: DifferenceType, path = place.path) =>
    walk.add(type, path, { old: fieldText(before), new: fieldText(after) });

  if (before.name !== after.name) differ(DifferenceType.FieldRenamed);
  if (isRequired(before) !== isRequired(after)) {
    differ(isRequired(after) ? DifferenceType.RequiredFieldAdded : DifferenceType.RequiredFieldRemoved);
  }
  if (kindOf(before) !== kindOf(after)) {
    differ(DifferenceType.FieldKindChanged);
    return;
  }
  compareLabels(before, after, differ);
  if (before.fieldKind === "map" && after.fieldKind === "map") {
    const sides = { before: before.mapKey, after: after.mapKey };
    compareScalars(walk, sides, (type) => differ(type, `${place.path}/key`));
    compareTypes(walk, { before, after, place }, (type) => differ(type, `${place.path}/value`));
  } else {
    compareTypes(walk, { before, after, place }, differ);
  }
}

export function isRequired({ presence }: DescField): boolean {
  return presence === LEGACY_REQUIRED;
}

type Kind = "scalar" | "message" | "map";

/** What a field or the elements of a list are; an enum is a scalar. */
function kindOf(field: DescField): Kind {
  if (field.fieldKind === "map") return "map";
  return field.message === undefined ? "scalar" : "message";
}

function compareLabels(before: DescField, after: DescField, differ: (type: DifferenceType) => void): void {
  if ((before.fieldKind === "list") !== (after.fieldKind === "list")) {
    differ(labelChange(before, after));
  } else if (mayBeImplicit(before) && mayBeImplicit(after) && before.presence !== after.presence) {
    differ(DifferenceType.FieldPresenceChanged);
  }
}

/** A number's list is packed, and its bytes are no number's; texts and messages come one by one. */
function labelChange(before: DescField, after: DescField): DifferenceType {
  if (kindOf(before) === "message") return DifferenceType.FieldMessageLabelChanged;
  const isText = groupOf(before.scalar) === "text" && groupOf(after.scalar) === "text";
  return isText ? DifferenceType.FieldStringLabelChanged : DifferenceType.FieldNumericLabelChanged;
}

/** Members of a oneof are never implicit, and what is required is told otherwise. */
function mayBeImplicit(field: DescField): boolean {
  const isSingle = field.fieldKind === "scalar" || field.fieldKind === "enum";
  return isSingle && field.oneof === undefined && !isRequired(field);
}

/** Compares the types of two fields of one kind: of maps, those of their values. */
function compareTypes(
  walk: Walk,
  { before, after, place }: { before: DescField; after: DescField; place: Place },
  differ: (type: DifferenceType) => void,
): void {
  if (before.message !== undefined && after.message !== undefined) {
    if (isDelimited(before) !== isDelimited(after)) differ(DifferenceType.FieldEncodingChanged);
    if (relativeName(before.message) !== relativeName(after.message)) {
      differ(DifferenceType.FieldNamedTypeChanged);
      return;
    }
    if (hasMoved(before, after)) differ(DifferenceType.FieldTypeMoved);
    walk.reach(before.message, after.message, place);
  } else if (before.enum !== undefined && after.enum !== undefined) {
    if (relativeName(before.enum) !== relativeName(after.enum)) {
      differ(DifferenceType.FieldEnumTypeChanged);
      return;
    }
    if (hasMoved(before, after)) differ(DifferenceType.FieldTypeMoved);
    walk.reach(before.enum, after.enum, place);
  } else if (before.message !== undefined || after.message !== undefined) {
    // Only of maps, whose values may be anything.
    differ(DifferenceType.FieldKindChanged);
  } else {
    compareScalars(walk, { before: before.scalar, after: after.scalar }, differ);
  }
}

/** @param sides Undefined is an enum. */
function compareScalars(
  { options }: Walk,
  { before, after }: { before: ScalarType | undefined; after: ScalarType | undefined },
  differ: (type: DifferenceType) => void,
): void {
  if (before === after) return;
  const becomesString = groupOf(before) === "text" && after === ScalarType.STRING;
  const isSame = groupOf(before) === groupOf(after) && !(becomesString && options.bytesToString);
  differ(isSame ? DifferenceType.FieldScalarTypeChanged : DifferenceType.FieldScalarKindChanged);
}

function groupOf(scalar: ScalarType | undefined): string {
  return scalar === undefined ? enumGroup : scalarGroups[scalar];
}

function isDelimited(field: DescField): boolean {
  return "delimitedEncoding" in field && field.delimitedEncoding;
}

/** Whether a type of the same relative name is in another package; not if the whole file is, which is told by itself. */
function hasMoved(before: DescField, after: DescField): boolean {
  return valueText(before) !== valueText(after);
}
