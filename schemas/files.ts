import { clone, create, createFileRegistry, type DescFile, type FileRegistry } from "@bufbuild/protobuf";
import * as wellKnown from "@bufbuild/protobuf/wkt";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

/** Files with all that they import. */
export type FileSet = FileRegistry;

/** A descriptor is no valid schema: it refers to what there is not, for example. */
export class InvalidSchemaError extends Error {
  override name = "InvalidSchemaError";
}

/** What one `.proto` file can be imported as: `shop/order/v1/order.proto`. It leads nowhere else on a disk. */
export function isImportPath(path: string): boolean {
  return (
    path.length <= 255 && /^(?!\.{1,2}\/)[A-Za-z0-9_.-]+(\/(?!\.{1,2}\/)[A-Za-z0-9_.-]+)*\.proto$/.test(path)
  );
}

/** The well-known types are part of every compiler, and need to be brought along by nobody. */
export function isWellKnown(path: string): boolean {
  return wellKnownFiles.has(path);
}

const wellKnownFiles = new Map(
  Object.values(wellKnown).flatMap((value) => {
    return typeof value === "object" && "kind" in value && value.kind === "file"
      ? [[value.proto.name, value]]
      : [];
  }),
);

/** @throws {RangeError} If there is none of that name. */
export function fileOf(files: FileSet, path: string): DescFile {
  const file = files.getFile(path);
  if (file === undefined) throw new RangeError(`Cannot find ${path} among what was compiled`);
  return file;
}

/** A file and what it imports, as descriptors: each before whoever imports it, the file itself last, well-known types left out. */
export function toFileSet(file: DescFile): FileDescriptorSet {
  const found = new Map<string, FileDescriptorProto>();
  const add = ({ proto, dependencies }: DescFile) => {
    if (found.has(proto.name) || isWellKnown(proto.name)) return;
    for (const dependency of dependencies) add(dependency);
    found.set(proto.name, withoutSourceInfo(proto));
  };
  add(file);
  return create(FileDescriptorSetSchema, { file: [...found.values()] });
}

function withoutSourceInfo(proto: FileDescriptorProto): FileDescriptorProto {
  const copy = clone(FileDescriptorProtoSchema, proto);
  delete copy.sourceCodeInfo;
  return copy;
}

/**
 * The last file of a set, with all that it imports.
 * @throws {InvalidSchemaError} If something that it imports or refers to is missing, or imports go in a circle.
 */
export function fromFileSet(set: FileDescriptorSet): DescFile {
  const own = set.file.at(-1);
  if (own === undefined) throw new InvalidSchemaError("there is no file in it");
  const byName = new Map(set.file.map((file) => [file.name, file]));
  checkImports(own, byName, { path: [], done: new Set() });
  let files: FileRegistry;
  try {
    files = createFileRegistry(own, (name) => byName.get(name) ?? wellKnownFiles.get(name));
  } catch (cause) {
    throw new InvalidSchemaError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  return fileOf(files, own.name);
}

/** Imports that go deeper than this are not anybody's schema. */
const MAX_IMPORT_DEPTH = 64;

function checkImports(
  file: FileDescriptorProto,
  byName: ReadonlyMap<string, FileDescriptorProto>,
  { path, done }: { path: readonly string[]; done: Set<string> },
): void {
  if (path.includes(file.name)) {
    throw new InvalidSchemaError(`imports go in a circle: ${[...path, file.name].join(" → ")}`);
  }
  if (path.length > MAX_IMPORT_DEPTH)
    throw new InvalidSchemaError(`more than ${MAX_IMPORT_DEPTH} imports in a row`);
  if (done.has(file.name)) return;
  for (const name of file.dependency) {
    const imported = byName.get(name);
    if (imported !== undefined) checkImports(imported, byName, { path: [...path, file.name], done });
    else if (!isWellKnown(name))
      throw new InvalidSchemaError(`${file.name} imports ${name}, which is not there`);
  }
  done.add(file.name);
}
