import { createHash } from "node:crypto";
import { clearField, fromBinary, isFieldSet, toBinary } from "@bufbuild/protobuf";
import { protoCamelCase, type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FieldOptions_OptionRetention,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

/** Another schema that one imports, as the registry knows it. */
export interface Reference {
  /** The path it is imported under. */
  readonly name: string;
  readonly subject: string;
  readonly version: number;
}

/**
 * The part of a descriptor that says what a schema is, as a copy. Left out is what a compiler, a code generator or a
 * client may add or lose without that the schema is another one:
 *
 * - the file's name, and where in its source each thing was;
 * - JSON names that are the default, the syntax "proto2", which is what no syntax means, and how a number is written
 *   that is a default;
 * - options that are kept in source only (`RETENTION_SOURCE`: naming style, declarations of extensions), which
 *   generated code does not have;
 * - unknown fields, so all custom options: in generated code some are left out, in {@linkcode printFile}'s text all.
 *   What differs in them only is one schema: no byte of a message does.
 */
export function canonical(file: FileDescriptorProto): FileDescriptorProto {
  const copy = fromBinary(
    FileDescriptorProtoSchema,
    toBinary(FileDescriptorProtoSchema, file, { writeUnknownFields: false }),
  );
  clearField(copy, FileDescriptorProtoSchema.field.name);
  clearField(copy, FileDescriptorProtoSchema.field.sourceCodeInfo);
  if (copy.syntax === "proto2") clearField(copy, FileDescriptorProtoSchema.field.syntax);
  tidy(reflect(FileDescriptorProtoSchema, copy, false));
  return copy;
}

/** One text for a number: compilers write "0.1" as well as "0.10000000149011612", and "1e+30" as "1e30". */
function tidyField(field: FieldDescriptorProto): void {
  if (field.jsonName === protoCamelCase(field.name)) {
    clearField(field, FieldDescriptorProtoSchema.field.jsonName);
  }
  const value = Number(field.defaultValue);
  if (field.defaultValue === "" || Number.isNaN(value)) return; // Unset, no number, or "inf" and "nan".
  if (field.type === FieldDescriptorProto_Type.FLOAT) field.defaultValue = text(Math.fround(value));
  if (field.type === FieldDescriptorProto_Type.DOUBLE) field.defaultValue = text(value);
}

function text(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** Unsets default JSON names, what is kept in source only, and options of which nothing is left. */
function tidy(message: ReflectMessage): void {
  if (message.desc.typeName === FieldDescriptorProtoSchema.typeName) {
    tidyField(message.message as FieldDescriptorProto);
  }
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    if (field.proto.options?.retention === FieldOptions_OptionRetention.RETENTION_SOURCE) {
      message.clear(field);
    } else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const item of message.get(field)) tidy(item as ReflectMessage);
    } else if (field.fieldKind === "message") {
      const part = message.get(field);
      tidy(part);
      if (!part.fields.some((each) => part.isSet(each))) message.clear(field);
    }
  }
}

/**
 * The same schema whatever the order of its imports, fields, oneofs, enums and their values, extensions, services,
 * methods and reserved ranges, as Confluent's `normalize`: {@linkcode canonical}, and sorted where order means
 * nothing. Where it means something it is kept:
 *
 * - of messages, whose index is on Confluent's wire. Those that map fields and groups make are sorted among
 *   themselves, so that no other message's index changes;
 * - an enum's first value, which is its default, and values of the same number, of which the first gives the name.
 *
 * Members of a oneof stay together, so that the text of this compiles to exactly this. (Who wants text as it was
 * registered keeps that: an option that is kept in source only, as a naming style, is not in this one.)
 */
export function normalized(file: FileDescriptorProto): FileDescriptorProto {
  const copy = canonical(file);
  const before = copy.dependency;
  const after = before.toSorted();
  const moved = (index: number) => after.indexOf(before[index] ?? "");
  copy.dependency = after;
  copy.publicDependency = copy.publicDependency.map(moved).sort(byNumber);
  copy.weakDependency = copy.weakDependency.map(moved).sort(byNumber);
  copy.optionDependency.sort();
  const scope = copy.package === "" ? "" : `.${copy.package}`;
  for (const message of copy.messageType) sortMessage(message, `${scope}.${message.name}`);
  sortEnums(copy.enumType);
  sortExtensions(copy.extension);
  copy.service.sort(byName);
  for (const service of copy.service) service.method.sort(byName);
  return copy;
}

function sortMessage(message: DescriptorProto, typeName: string): void {
  for (const nested of message.nestedType) sortMessage(nested, `${typeName}.${nested.name}`);
  sortFields(message);
  sortExtensions(message.extension);
  sortMade(message, typeName);
  sortEnums(message.enumType);
  message.extensionRange.sort(byStart);
  message.reservedRange.sort(byStart);
  message.reservedName.sort();
}

/** Fields by number, but each oneof as a whole, by its lowest; oneofs in the order of their fields. */
function sortFields(message: DescriptorProto): void {
  const isMember = (field: FieldDescriptorProto) =>
    isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex);
  // One made for an `optional` field comes after those that somebody wrote, and has one member.
  const lowest = message.oneofDecl.map(() => Number.POSITIVE_INFINITY);
  const synthetic = message.oneofDecl.map(() => false);
  for (const field of message.field.filter(isMember)) {
    lowest[field.oneofIndex] = Math.min(lowest[field.oneofIndex] ?? 0, field.number);
    synthetic[field.oneofIndex] = field.proto3Optional;
  }
  const rank = (field: FieldDescriptorProto) =>
    (isMember(field) ? lowest[field.oneofIndex] : undefined) ?? field.number;
  message.field.sort((a, b) => rank(a) - rank(b) || a.number - b.number);

  const order = [...message.oneofDecl.keys()].sort(
    (a, b) => Number(synthetic[a]) - Number(synthetic[b]) || (lowest[a] ?? 0) - (lowest[b] ?? 0),
  );
  message.oneofDecl = order.flatMap((index) => message.oneofDecl[index] ?? []);
  for (const field of message.field.filter(isMember)) field.oneofIndex = order.indexOf(field.oneofIndex);
}

/** Messages that maps and groups make, in the order of the fields that make them, within the places they have. */
function sortMade(message: DescriptorProto, typeName: string): void {
  const nested = new Map(message.nestedType.map((each) => [`${typeName}.${each.name}`, each]));
  const made = new Set<DescriptorProto>();
  for (const field of [...message.field, ...message.extension]) {
    const type = nested.get(field.typeName);
    if (type && (type.options?.mapEntry || field.type === FieldDescriptorProto_Type.GROUP)) made.add(type);
  }
  const sorted = made.values();
  message.nestedType = message.nestedType.map((each) =>
    made.has(each) ? (sorted.next().value ?? each) : each,
  );
}

function sortEnums(enums: EnumDescriptorProto[]): void {
  enums.sort(byName);
  for (const each of enums) {
    const [first, ...others] = each.value;
    if (first) each.value = [first, ...others.sort((a, b) => a.number - b.number)];
    each.reservedRange.sort(byStart);
    each.reservedName.sort();
  }
}

function sortExtensions(extensions: FieldDescriptorProto[]): void {
  extensions.sort((a, b) => byText(a.extendee, b.extendee) || a.number - b.number);
}

/**
 * A name for exactly this schema as a UUID (version 8, RFC 9562): a hash of its canonical descriptor and of what it
 * refers to, in whatever order. The same for text and for a descriptor of it, in every process. It takes about as
 * long as decoding the descriptor: who asks often remembers it.
 */
export function schemaGuid(file: FileDescriptorProto, references: readonly Reference[] = []): string {
  const named = references
    .map(({ name, subject, version }) => [name, subject, version] as const)
    .sort((a, b) => byText(a[0], b[0]) || byText(a[1], b[1]) || a[2] - b[2]);
  const hash = createHash("sha256")
    .update(`${JSON.stringify(named)}\n`)
    .update(toBinary(FileDescriptorProtoSchema, canonical(file)))
    .digest();
  // Version and variant as the RFC wants them: libraries of clients refuse what has others.
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x80, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  return hash.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** By code units: the same in every locale. */
function byText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function byName(a: { name: string }, b: { name: string }): number {
  return byText(a.name, b.name);
}

function byNumber(a: number, b: number): number {
  return a - b;
}

function byStart(a: { start: number }, b: { start: number }): number {
  return a.start - b.start;
}
