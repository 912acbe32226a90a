import { clone, create, type DescEnum, type DescFile, type DescMessage } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  EnumDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { fromFileSet, isWellKnown, printFile } from "../schemas/mod.ts";

type Type = DescMessage | DescEnum;

/**
 * The file of a message as `.proto` text that imports nothing but well-known types, for tools that look at one text only.
 * What it uses of other files is copied into its own package, under a longer name where its own is taken. Other than the
 * names, nothing changes: not a byte of a message.
 *
 * @param options.comment Lines over the message. Default: none.
 * @throws {RangeError} If the files are not of one syntax: what is copied would mean something else.
 */
export function printAlone(
  message: DescMessage,
  { comment = [] }: { comment?: readonly string[] } = {},
): string {
  const { file } = message;
  const copied = [...usedOfOthers(file)];
  for (const { file: other } of copied) {
    if (other.edition === file.edition) continue;
    throw new RangeError(`Cannot print ${file.proto.name} alone: ${other.proto.name} is of another syntax`);
  }
  const names = namesFor(copied, file);
  const proto = clone(FileDescriptorProtoSchema, file.proto);
  for (const type of copied) {
    const name = names.get(type)?.split(".").at(-1) ?? type.name;
    if (type.kind === "enum") {
      const copy = clone(EnumDescriptorProtoSchema, type.proto);
      copy.name = name;
      proto.enumType.push(copy);
    } else {
      const copy = clone(DescriptorProtoSchema, type.proto);
      copy.name = name;
      proto.messageType.push(copy);
    }
  }
  const renames = new Map([...names].map(([{ typeName }, name]) => [`.${typeName}`, name]));
  for (const type of proto.messageType) rename(type, renames);
  proto.dependency = [...new Set([file, ...copied.map((type) => type.file)].flatMap(wellKnownImports))];
  proto.publicDependency = [];
  proto.weakDependency = [];
  // It is a file that could be: all that it refers to is in it.
  const alone = fromFileSet(create(FileDescriptorSetSchema, { file: [proto] }));
  const lines = comment.map((line) => `// ${line}\n`).join("");
  return printFile(alone).replace(new RegExp(`^message ${message.name} `, "m"), (head) => lines + head);
}

function wellKnownImports({ dependencies }: DescFile): string[] {
  return dependencies.map(({ proto }) => proto.name).filter(isWellKnown);
}

/** Types at the top level of other files that a file uses, itself or by what it uses. */
function usedOfOthers(file: DescFile): Set<Type> {
  const used = new Set<Type>();
  const visit = ({ fields, nestedMessages }: DescMessage) => {
    for (const { message, enum: enumeration } of fields) {
      const type = message ?? enumeration;
      if (type === undefined || type.file === file || isWellKnown(type.file.proto.name)) continue;
      const top = topOf(type);
      if (used.has(top)) continue;
      used.add(top);
      if (top.kind === "message") visit(top);
    }
    for (const nested of nestedMessages) visit(nested);
  };
  for (const message of file.messages) visit(message);
  return used;
}

function topOf(type: Type): Type {
  return type.parent === undefined ? type : topOf(type.parent);
}

/** What each is called in `file`, in full and with a leading dot. */
function namesFor(types: readonly Type[], file: DescFile): Map<Type, string> {
  const scope = file.proto.package === "" ? "" : `.${file.proto.package}`;
  const taken = new Set([...file.messages, ...file.enums].map(({ name }) => name));
  return new Map(
    types.map((type) => {
      const name = taken.has(type.name) ? type.typeName.replaceAll(".", "_") : type.name;
      taken.add(name);
      return [type, `${scope}.${name}`];
    }),
  );
}

function rename(type: DescriptorProto, renames: ReadonlyMap<string, string>): void {
  for (const field of type.field) {
    for (const [from, to] of renames) {
      if (field.typeName !== from && !field.typeName.startsWith(`${from}.`)) continue;
      field.typeName = to + field.typeName.slice(from.length);
      break;
    }
  }
  for (const nested of type.nestedType) rename(nested, renames);
}
