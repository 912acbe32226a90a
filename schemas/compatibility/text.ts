import {
  type DescEnum,
  type DescEnumValue,
  type DescField,
  type DescMessage,
  type DescOneof,
  ScalarType,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

/** A type's name without its package: `Order.Line`. Types are matched by it. */
export function relativeName({ typeName, file }: DescMessage | DescEnum): string {
  const { package: own } = file.proto;
  return own === "" ? typeName : typeName.slice(own.length + 1);
}

/** A field as somebody would write it: `repeated Line lines = 3`. Types of other packages have their full name. */
export function fieldText(field: DescField): string {
  const text = `${labelOf(field)}${typeText(field)} ${field.name} = ${field.number}`;
  return field.oneof === undefined ? text : `${text} in ${oneofText(field.oneof)}`;
}

export function messageText(message: DescMessage): string {
  return `message ${relativeName(message)}`;
}

export function enumText(one: DescEnum): string {
  return `enum ${relativeName(one)}`;
}

export function oneofText(oneof: DescOneof): string {
  return `oneof ${oneof.name}`;
}

/** All names that a number has: there are several with `allow_alias`. */
export function valuesText(values: readonly DescEnumValue[]): string {
  return values.map(({ name, number }) => `${name} = ${number}`).join(", ");
}

function labelOf(field: DescField): string {
  if (field.fieldKind === "list") return "repeated ";
  if (field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED) return "required ";
  const said = field.fieldKind === "scalar" || field.fieldKind === "enum";
  const optional = said && field.oneof === undefined && field.presence === FeatureSet_FieldPresence.EXPLICIT;
  return optional ? "optional " : "";
}

function typeText(field: DescField): string {
  const value = valueText(field);
  if (field.fieldKind === "map") return `map<${scalarText(field.mapKey)}, ${value}>`;
  return "delimitedEncoding" in field && field.delimitedEncoding ? `group ${value}` : value;
}

/** The type of a field, of its elements, or of its values. */
export function valueText(field: DescField): string {
  const type = field.message ?? field.enum;
  if (type === undefined) return scalarText(field.scalar as ScalarType);
  const isNear = type.file.proto.package === field.parent.file.proto.package;
  return isNear ? relativeName(type) : type.typeName;
}

function scalarText(scalar: ScalarType): string {
  return ScalarType[scalar].toLowerCase();
}
