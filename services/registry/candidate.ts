import { clone, create, type DescFile, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { type Candidate, RegistryCode, RegistryError, type SchemaStore } from "../../nats/mod.ts";
import {
  canonical,
  fileOf,
  fromFileSet,
  InvalidSchemaError,
  isImportPath,
  isWellKnown,
  normalized,
  printFile,
  type Reference,
  type Sources,
  schemaGuid,
  toFileSet,
} from "../../schemas/mod.ts";
import type { Compiler } from "./compiler.ts";

/** A schema as a client sends it. */
export interface SentSchema {
  /** `.proto` text, or a FileDescriptorProto in base64. */
  readonly schema: string;
  /** Version -1 is the latest. */
  readonly references: readonly Reference[];
  /** Whether order without meaning is taken out of it. */
  readonly normalize: boolean;
}

/** A schema with what it imports has to fit into one message of the server (1 MB), beside its text. */
export const MAX_SCHEMA_BYTES = 400 * 1024;
const MAX_STORED_BYTES = 900 * 1024;
/** What the compiler does takes the square of a line's length: two seconds for one of so many characters. */
const MAX_LINE = 8 * 1024;
/** Imports of one schema, each of which is read and compiled with it. */
const MAX_REFERENCES = 100;

const base64 = /^[A-Za-z0-9+/_-]+={0,2}$/;

/**
 * What a client sent, compiled together with what it refers to. Both forms of a schema go through the compiler, so that
 * nothing is stored that nobody can read.
 *
 * @throws {RegistryError} 42201 for what is no valid schema, with the compiler's file, line and column; 42209 for one that is
 * too large.
 */
export async function toCandidate(
  { schema, references: sent, normalize }: SentSchema,
  { store, compiler }: { store: SchemaStore; compiler: Compiler },
): Promise<Candidate> {
  if (schema.trim() === "") throw invalid("it is empty");
  const bytes = Buffer.byteLength(schema);
  if (bytes > MAX_SCHEMA_BYTES) throw tooLarge(`it has ${bytes} bytes, and ${MAX_SCHEMA_BYTES} may be`);
  const { references, imports } = await resolve(store, sent);
  const isDescriptor = base64.test(schema.trim());
  const compiled = isDescriptor
    ? await fromDescriptor(schema.trim(), imports, compiler)
    : await fromText(schema, imports, compiler);
  // The compiler takes some texts of no language for an empty file.
  if (isEmpty(compiled.proto)) throw invalid("it declares nothing");
  const file = normalize ? normalizedFile(compiled) : compiled;
  const fileSet = toBinary(FileDescriptorSetSchema, toFileSet(file));
  const text = isDescriptor || normalize ? "" : schema;
  const stored = fileSet.length + (text === "" ? 0 : bytes);
  if (stored > MAX_STORED_BYTES) {
    throw tooLarge(`it has ${stored} bytes with what it imports, and ${MAX_STORED_BYTES} may be`);
  }
  checkReadable(fileSet);
  return { guid: schemaGuid(file.proto, references), file, fileSet, text, references };
}

function isEmpty({ messageType, enumType, service, extension, dependency }: FileDescriptorProto): boolean {
  return [messageType, enumType, service, extension, dependency].every(({ length }) => length === 0);
}

/** What nobody could read again must not be stored: its subject would be lost with it. */
function checkReadable(fileSet: Uint8Array): void {
  try {
    fromFileSet(fromBinary(FileDescriptorSetSchema, fileSet));
  } catch (cause) {
    throw invalid("it cannot be read once it is stored", { cause });
  }
}

/** Files by the name they are imported under. */
type Imports = ReadonlyMap<string, FileDescriptorProto>;

async function resolve(
  store: SchemaStore,
  sent: readonly Reference[],
): Promise<{ references: Reference[]; imports: Imports }> {
  if (sent.length > MAX_REFERENCES)
    throw tooLarge(`it has ${sent.length} references, and ${MAX_REFERENCES} may be`);
  const imports = new Map<string, FileDescriptorProto>();
  const references: Reference[] = [];
  for (const { name, subject, version: wanted } of sent) {
    if (!isImportPath(name)) throw invalid(`reference ${JSON.stringify(name)} is no import path`);
    if (isWellKnown(name)) throw invalid(`${name} is a well-known type, which needs no reference`);
    const versions = (await store.subject(subject))?.versions.filter(({ deleted }) => !deleted) ?? [];
    const found = wanted === -1 ? versions.at(-1) : versions.find(({ version }) => version === wanted);
    const stored = found && (await store.schema(found.id));
    if (found === undefined || stored === undefined) {
      throw invalid(
        `reference ${JSON.stringify(name)}: there is no version ${wanted} of subject ${JSON.stringify(subject)}`,
      );
    }
    references.push({ name, subject, version: found.version });
    for (const file of renamed(toFileSet(stored.file), name).file) {
      add(imports, file);
    }
  }
  const bytes = toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, { file: [...imports.values()] }),
  );
  if (bytes.length > MAX_STORED_BYTES) {
    throw tooLarge(`what it refers to has ${bytes.length} bytes, and ${MAX_STORED_BYTES} may be`);
  }
  return { references, imports };
}

/** The set with its last file, which is the schema itself, under the name that it is imported as. */
function renamed(set: FileDescriptorSet, name: string): FileDescriptorSet {
  const own = set.file.at(-1);
  if (own !== undefined) own.name = name;
  return set;
}

function add(imports: Map<string, FileDescriptorProto>, file: FileDescriptorProto): void {
  const other = imports.get(file.name);
  if (other !== undefined && schemaGuid(other) !== schemaGuid(file)) {
    throw invalid(`two references bring different files as ${file.name}`);
  }
  imports.set(file.name, file);
}

async function fromText(text: string, imports: Imports, compiler: Compiler): Promise<DescFile> {
  const long = text.split("\n").findIndex((line) => line.length > MAX_LINE);
  if (long >= 0) throw invalid(`line ${long + 1} has more than ${MAX_LINE} characters`);
  const name = ownName(imports);
  return fileOf(await compiler.compile(sourcesOf(imports, name, text)), name);
}

/** What the compiler is given: what a schema imports, and the schema itself. */
function sourcesOf(imports: Imports, name: string, text: string): Sources {
  const paths = [...imports.keys(), name];
  for (const path of [...paths, "buf.yaml"]) {
    const below = paths.find((other) => other.startsWith(`${path}/`));
    if (below !== undefined) throw invalid(`${below} cannot be imported: ${path} is a file, and no folder`);
  }
  const printed = [...imports.values()].map((file) => [file.name, printFile(linked(file, imports))]);
  return { ...Object.fromEntries(printed), [name]: text };
}

async function fromDescriptor(text: string, imports: Imports, compiler: Compiler): Promise<DescFile> {
  let own: FileDescriptorProto;
  try {
    own = fromBinary(FileDescriptorProtoSchema, Buffer.from(text, "base64"));
  } catch (cause) {
    throw invalid("it is neither .proto text nor a FileDescriptorProto in base64", { cause });
  }
  // What is text by chance, or of a later language, is not to be taken for an empty file.
  if (own.$unknown !== undefined && own.$unknown.length > 0)
    throw invalid("its descriptor has fields that no FileDescriptorProto has");
  const taken = imports.has(own.name) || isWellKnown(own.name) || !isImportPath(own.name);
  if (taken && own.dependency.includes(own.name))
    throw invalid(`imports go in a circle: ${own.name} imports itself`);
  if (taken) own.name = ownName(imports);
  const file = linked(own, imports);
  const compiled = await compiler.compile(sourcesOf(imports, own.name, printFile(file)));
  // A descriptor can say what no text can; then the text is another schema, or none.
  if (schemaGuid(fileOf(compiled, own.name).proto) !== schemaGuid(own)) {
    throw invalid("its descriptor is none that a compiler makes");
  }
  return file;
}

function linked(own: FileDescriptorProto, imports: Imports): DescFile {
  const needed = new Map<string, FileDescriptorProto>();
  const need = ({ dependency }: FileDescriptorProto) => {
    for (const name of dependency) {
      const file = imports.get(name);
      if (file === undefined || needed.has(name)) continue;
      needed.set(name, file);
      need(file);
    }
  };
  need(own);
  try {
    return fromFileSet({ $typeName: "google.protobuf.FileDescriptorSet", file: [...needed.values(), own] });
  } catch (cause) {
    if (cause instanceof InvalidSchemaError)
      throw invalid(cause.message || "its descriptor is none that a compiler makes", { cause });
    throw cause;
  }
}

/** What is registered has no name of its own in its text; an import has none of these. */
function ownName(imports: Imports): string {
  const taken = [...imports.keys()];
  for (let name = "schema.proto"; ; name = `_${name}`) {
    if (!taken.some((path) => `${path}/`.startsWith(`${name}/`))) return name;
  }
}

function normalizedFile(file: DescFile): DescFile {
  const set = toFileSet(file);
  const own = clone(FileDescriptorProtoSchema, normalized(canonical(file.proto)));
  own.name = file.proto.name;
  return fromFileSet({ ...set, file: [...set.file.slice(0, -1), own] });
}

function invalid(why: string, options?: ErrorOptions): RegistryError {
  return new RegistryError(RegistryCode.InvalidSchema, `Invalid schema: ${why}`, options);
}

function tooLarge(why: string): RegistryError {
  return new RegistryError(RegistryCode.TooLarge, `Schema too large: ${why}`);
}
