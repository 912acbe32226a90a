import { type DescFile, isFieldSet } from "@bufbuild/protobuf";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import {
  type DescriptorProto,
  EditionSchema,
  type EnumDescriptorProto,
  EnumOptionsSchema,
  EnumValueOptionsSchema,
  ExtensionRangeOptionsSchema,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProto_TypeSchema,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  type FileDescriptorProto,
  FileOptionsSchema,
  MessageOptionsSchema,
  type MethodDescriptorProto,
  MethodOptionsSchema,
  OneofOptionsSchema,
  type ServiceDescriptorProto,
  ServiceOptionsSchema,
  SymbolVisibility,
} from "@bufbuild/protobuf/wkt";
import { asStatements, inBrackets, quote, type Setting, settingsOf } from "./print_options.ts";

/** What is inside of a message, or at a file's top level. */
type Members = Pick<DescriptorProto, "field" | "oneofDecl" | "extension" | "nestedType" | "enumType">;

/** Where something is: its file's syntax says how a label and a reserved name are written. */
interface Place {
  readonly syntax: string;
  /** Of what contains it, with a leading dot: `.shop.order.v1.Order`. Empty in a file without a package. */
  readonly scope: string;
}

/** Field numbers end here; those of a message set only at the end of int32. */
const MAX_NUMBER = 536_870_911;
const MAX_INT32 = 2_147_483_647;

/**
 * A file's descriptor as `.proto` text that compiles to the same descriptor: proto2, proto3 and editions, all of the
 * language. Types are named in full, with a leading dot, so that no scope can lead to another one. The same text for
 * the same descriptor, always.
 *
 * Not in it: comments, and custom options, which a descriptor keeps as unknown fields (so neither are in
 * {@linkcode schemaGuid}). The descriptor has to be one that a compiler made, or could have: of another, what is
 * returned does not compile, or to something else. Who was given it by somebody compiles the text, and compares.
 */
export function printFile({ proto: file }: DescFile): string {
  const place = {
    syntax: file.syntax || "proto2",
    scope: file.package === "" ? "" : `.${file.package}`,
  };
  const sections = [
    [place.syntax === "editions" ? `edition = ${quote(editionOf(file))};` : `syntax = "${place.syntax}";`],
    file.package === "" ? [] : [`package ${file.package};`],
    imports(file),
    asStatements(settingsOf(FileOptionsSchema, file.options)),
    ...members({ ...file, nestedType: file.messageType, field: [], oneofDecl: [] }, place),
    ...file.service.map(service),
  ];
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join("\n")}\n`)
    .join("\n");
}

function editionOf(file: FileDescriptorProto): string {
  return (EditionSchema.value[file.edition]?.name ?? "").replace("EDITION_", "");
}

function imports(file: FileDescriptorProto): string[] {
  const kind = (index: number) => {
    if (file.publicDependency.includes(index)) return "public ";
    return file.weakDependency.includes(index) ? "weak " : "";
  };
  return [
    ...file.dependency.map((path, index) => `import ${kind(index)}${quote(path)};`),
    ...file.optionDependency.map((path) => `import option ${quote(path)};`),
  ];
}

/**
 * A list of lines for each member. A message has the index that it had: maps and groups make messages too, and one that
 * comes after such a one is written after the field that makes it.
 */
function members(of: Members, place: Place): string[][] {
  const fields = Map.groupBy(of.field, (each) => (isInOneof(each) ? each.oneofIndex : each));
  let run = 0;
  const extensions = Map.groupBy(of.extension, ({ extendee }, index) =>
    extendee === of.extension[index - 1]?.extendee ? run : ++run,
  );
  const made = madeOf(of, place);
  const written = new Set(of.nestedType).difference(new Set(made.values()));

  const sections = of.enumType.map((each) => enumeration(each, place));
  let next = 0;
  const addMessages = () => {
    for (let each = of.nestedType[next]; each && written.has(each); each = of.nestedType[++next]) {
      sections.push(message(each, place));
    }
  };
  addMessages();
  for (const group of [...fields.values(), ...extensions.values()]) {
    const lines = group.flatMap((each) => field(each, made.get(each), place));
    sections.push(statement(group[0], lines, of));
    for (const each of group) {
      if (!made.has(each)) continue;
      next++;
      addMessages();
    }
  }
  return sections;
}

function isInOneof(field: FieldDescriptorProto): boolean {
  return isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex) && !field.proto3Optional;
}

/** The messages that there are because of a field: a map's entry, or a group. */
function madeOf(of: Members, { scope }: Place): Map<FieldDescriptorProto, DescriptorProto> {
  const nested = new Map(of.nestedType.map((each) => [`${scope}.${each.name}`, each]));
  return new Map(
    [...of.field, ...of.extension].flatMap((each) => {
      const made = nested.get(each.typeName);
      const isMade = made?.options?.mapEntry || each.type === FieldDescriptorProto_Type.GROUP;
      return made && isMade ? [[each, made] as const] : [];
    }),
  );
}

/** Fields that are written together as one: those of a oneof, of an extended message, or a single one. */
function statement(
  first: FieldDescriptorProto | undefined,
  lines: string[],
  { oneofDecl }: Members,
): string[] {
  if (first?.extendee) return block(`extend ${first.extendee}`, lines);
  if (!first || !isInOneof(first)) return lines;
  const oneof = oneofDecl[first.oneofIndex];
  const options = asStatements(settingsOf(OneofOptionsSchema, oneof?.options));
  return block(`oneof ${oneof?.name}`, [...options, ...lines]);
}

function field(of: FieldDescriptorProto, made: DescriptorProto | undefined, place: Place): string[] {
  const settings = inBrackets([...valuesOf(of), ...settingsOf(FieldOptionsSchema, of.options)]);
  if (made?.options?.mapEntry) {
    const [key, value] = made.field.map(typeOf);
    return [`map<${key}, ${value}> ${of.name} = ${of.number}${settings};`];
  }
  const label = labelOf(of, place);
  if (made) return block(`${label}group ${made.name} = ${of.number}${settings}`, bodyOf(made, place));
  return [`${label}${typeOf(of)} ${of.name} = ${of.number}${settings};`];
}

/** With a space behind it, or nothing where the syntax has none. */
function labelOf(field: FieldDescriptorProto, { syntax }: Place): string {
  switch (field.label) {
    case FieldDescriptorProto_Label.REPEATED:
      return "repeated ";
    case FieldDescriptorProto_Label.REQUIRED:
      return "required ";
    case FieldDescriptorProto_Label.OPTIONAL:
      return field.proto3Optional || (syntax === "proto2" && !isInOneof(field)) ? "optional " : "";
  }
}

function typeOf({ type, typeName }: FieldDescriptorProto): string {
  const name = FieldDescriptorProto_TypeSchema.value[type]?.name ?? "";
  return typeName || name.replace("TYPE_", "").toLowerCase();
}

/** What is written like options, and is none. */
function valuesOf(field: FieldDescriptorProto): Setting[] {
  const settings: Setting[] = [];
  if (isFieldSet(field, FieldDescriptorProtoSchema.field.defaultValue)) {
    settings.push(["default", defaultOf(field)]);
  }
  if (field.jsonName !== "" && field.jsonName !== protoCamelCase(field.name)) {
    settings.push(["json_name", quote(field.jsonName)]);
  }
  return settings;
}

function defaultOf({ type, defaultValue }: FieldDescriptorProto): string {
  if (type === FieldDescriptorProto_Type.STRING) return quote(defaultValue);
  // Those of bytes are escaped already.
  return type === FieldDescriptorProto_Type.BYTES ? `"${defaultValue}"` : defaultValue;
}

function message(of: DescriptorProto, place: Place): string[] {
  return block(`${visibilityOf(of)}message ${of.name}`, bodyOf(of, place));
}

function bodyOf(of: DescriptorProto, { syntax, scope }: Place): string[] {
  const max = of.options?.messageSetWireFormat ? MAX_INT32 - 1 : MAX_NUMBER;
  return [
    ...asStatements(settingsOf(MessageOptionsSchema, of.options)),
    ...members(of, { syntax, scope: `${scope}.${of.name}` }).flat(),
    ...of.extensionRange.map(({ start, end, options }) => {
      const settings = inBrackets(settingsOf(ExtensionRangeOptionsSchema, options));
      return `extensions ${range(start, end - 1, max)}${settings};`;
    }),
    ...reserved(
      of.reservedRange.map(({ start, end }) => range(start, end - 1, max)),
      of.reservedName,
      syntax,
    ),
  ];
}

function enumeration(of: EnumDescriptorProto, { syntax }: Place): string[] {
  return block(`${visibilityOf(of)}enum ${of.name}`, [
    ...asStatements(settingsOf(EnumOptionsSchema, of.options)),
    ...of.value.map(({ name, number, options }) => {
      return `${name} = ${number}${inBrackets(settingsOf(EnumValueOptionsSchema, options))};`;
    }),
    // Other than a message's, these ranges include their end.
    ...reserved(
      of.reservedRange.map(({ start, end }) => range(start, end, MAX_INT32)),
      of.reservedName,
      syntax,
    ),
  ]);
}

function visibilityOf({ visibility }: DescriptorProto | EnumDescriptorProto): string {
  switch (visibility) {
    case SymbolVisibility.VISIBILITY_EXPORT:
      return "export ";
    case SymbolVisibility.VISIBILITY_LOCAL:
      return "local ";
    case SymbolVisibility.VISIBILITY_UNSET:
      return "";
  }
}

function range(first: number, last: number, max: number): string {
  return first === last ? `${first}` : `${first} to ${last === max ? "max" : last}`;
}

function reserved(ranges: readonly string[], names: readonly string[], syntax: string): string[] {
  const quoted = syntax === "editions" ? names : names.map(quote);
  return [ranges, quoted].filter(({ length }) => length > 0).map((list) => `reserved ${list.join(", ")};`);
}

function service(of: ServiceDescriptorProto): string[] {
  return block(`service ${of.name}`, [
    ...asStatements(settingsOf(ServiceOptionsSchema, of.options)),
    ...of.method.flatMap(method),
  ]);
}

function method(of: MethodDescriptorProto): string[] {
  const input = `${of.clientStreaming ? "stream " : ""}${of.inputType}`;
  const output = `${of.serverStreaming ? "stream " : ""}${of.outputType}`;
  const head = `rpc ${of.name}(${input}) returns (${output})`;
  const options = asStatements(settingsOf(MethodOptionsSchema, of.options));
  return options.length === 0 ? [`${head};`] : block(head, options);
}

function block(head: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [`${head} {}`] : [`${head} {`, ...lines.map((line) => `  ${line}`), "}"];
}
