import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, createFileRegistry, fromBinary, isFieldSet, toBinary } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { beforeAll, describe, expect, test } from "vitest";
import { canonical, normalized, schemaGuid } from "./canonical.ts";
import { build, compile } from "./compile.ts";
import { type FileSet, fileOf } from "./files.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Two texts of one schema, of which nothing is in the same order but what has to be. */
const ordered = `syntax = "proto3"; package a;
  import "google/protobuf/any.proto"; import public "google/protobuf/duration.proto"; import "google/protobuf/empty.proto";
  message M {
    google.protobuf.Any any = 1;
    oneof first { string x = 2; string y = 5; }
    optional int32 set = 3;
    map<string, int32> counts = 4;
    oneof second { string v = 6; string w = 7; }
    map<string, string> names = 8;
    message Inner {}
    enum A { A_ZERO = 0; } enum B { B_ZERO = 0; }
    reserved 10, 20 to 30; reserved "p", "q";
  }
  message N { google.protobuf.Duration d = 1; }
  enum E { option allow_alias = true; E_ZERO = 0; E_MINUS = -1; E_ONE = 1; E_UNO = 1; E_TWO = 2; }
  service S { rpc A(M) returns (M); rpc B(M) returns (google.protobuf.Empty); }
  service T {}`;
const shuffled = `syntax = "proto3"; package a;
  import "google/protobuf/empty.proto"; import "google/protobuf/any.proto"; import public "google/protobuf/duration.proto";
  service T {}
  enum E { option allow_alias = true; E_ZERO = 0; E_TWO = 2; E_ONE = 1; E_UNO = 1; E_MINUS = -1; }
  message M {
    reserved "q"; reserved 20 to 30; reserved "p"; reserved 10;
    enum B { B_ZERO = 0; } enum A { A_ZERO = 0; }
    map<string, string> names = 8;
    oneof second { string w = 7; string v = 6; }
    map<string, int32> counts = 4;
    message Inner {}
    optional int32 set = 3;
    oneof first { string y = 5; string x = 2; }
    google.protobuf.Any any = 1;
  }
  message N { google.protobuf.Duration d = 1; }
  service S { rpc B(M) returns (google.protobuf.Empty); rpc A(M) returns (M); }`;
const withOptions = `edition = "2024"; package o;
  import option "b.proto";
  option features.enforce_naming_style = STYLE_LEGACY;
  message M { option (mark) = "x"; option deprecated = true; string given = 1 [json_name = "Given"]; string plain_name = 2; }`;
const withoutOptions = `edition = "2024"; package o;
  import option "b.proto";
  message M { option deprecated = true; string given = 1 [json_name = "Given"]; string plain_name = 2; }`;
const mark = `syntax = "proto2"; import "google/protobuf/descriptor.proto";
  extend google.protobuf.MessageOptions { optional string mark = 50000; }`;

let shop: FileSet;
let files: FileSet;
let bare: FileSet;
beforeAll(async () => {
  const [image, ...compiled] = await Promise.all([
    build(".", { cwd: root }),
    compile({ "ordered.proto": ordered, "with.proto": withOptions, "b.proto": mark }),
    compile({ "shuffled.proto": shuffled, "without.proto": withoutOptions, "b.proto": mark }),
  ]);
  shop = createFileRegistry(image);
  [files, bare] = compiled;
});

const proto = (set: FileSet, path: string) => fileOf(set, path).proto;
const same = (a: FileDescriptorProto, b: FileDescriptorProto) =>
  expect(toBinary(FileDescriptorProtoSchema, a)).toEqual(toBinary(FileDescriptorProtoSchema, b));

describe("schemaGuid()", () => {
  test("is the same for a file of proto/, its generated code, and the bytes that a client sends of that", async () => {
    const paths = [...shop.files].map((file) => file.proto.name).filter((path) => path.startsWith("shop/"));
    expect(paths.length).toBeGreaterThan(30);
    for (const path of paths) {
      const generated = await generatedFile(path);
      const guid = schemaGuid(proto(shop, path));
      const sent = toBinary(FileDescriptorProtoSchema, generated);
      expect([path, schemaGuid(generated)]).toEqual([path, guid]);
      expect([path, schemaGuid(fromBinary(FileDescriptorProtoSchema, sent))]).toEqual([path, guid]);
    }
    expect(new Set(paths.map((path) => schemaGuid(proto(shop, path)))).size).toBe(paths.length);
  });

  test("is a UUID of version 8 that never changes", () => {
    const file = create(FileDescriptorProtoSchema, { name: "a.proto", package: "a" });
    expect(schemaGuid(file)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    // The empty list, a line's end, and field 2 with the text "a".
    const hash = createHash("sha256").update("[]\n\x12\x01a").digest("hex");
    expect(schemaGuid(file).slice(0, 13)).toBe(`${hash.slice(0, 8)}-${hash.slice(8, 12)}`);
  });

  test("tells references apart, in whatever order they are given", () => {
    const file = proto(files, "ordered.proto");
    const [a, b] = [
      { name: "a.proto", subject: "a", version: 1 },
      { name: "b.proto", subject: "b", version: 1 },
    ] as const;
    expect(schemaGuid(file, [a, b])).toBe(schemaGuid(file, [b, a]));
    const other = [[], [a], [a, { ...b, version: 2 }], [a, { ...b, subject: "c" }]].map((references) =>
      schemaGuid(file, references),
    );
    expect(new Set([...other, schemaGuid(file, [a, b])]).size).toBe(5);
  });
});

describe("canonical()", () => {
  test("leaves out the name, default JSON names, custom options and those that are kept in source only", () => {
    same(canonical(proto(files, "with.proto")), canonical(proto(bare, "without.proto")));
    const [message] = canonical(proto(files, "with.proto")).messageType;
    expect(message?.field.map((field) => field.jsonName)).toEqual(["Given", ""]);
  });

  test("writes a default number in one way, whichever compiler wrote it", () => {
    const { FLOAT, DOUBLE, STRING } = FieldDescriptorProto_Type;
    const written = (type: FieldDescriptorProto_Type, defaultValue: string) => {
      const messageType = [{ name: "M", field: [{ name: "f", number: 1, type, defaultValue }] }];
      const [message] = canonical(create(FileDescriptorProtoSchema, { messageType })).messageType;
      return message?.field[0]?.defaultValue;
    };
    expect(written(FLOAT, "0.1")).toBe(written(FLOAT, "0.10000000149011612"));
    expect(written(DOUBLE, "1e+30")).toBe(written(DOUBLE, "1e30"));
    expect(["-0", "inf", "-inf", "nan"].map((value) => written(DOUBLE, value))).toEqual([
      "-0",
      "inf",
      "-inf",
      "nan",
    ]);
    expect(written(STRING, "1e+30")).toBe("1e+30");
  });

  test("leaves its argument as it is", () => {
    const file = proto(files, "with.proto");
    const before = toBinary(FileDescriptorProtoSchema, file);
    canonical(file);
    normalized(file);
    expect(toBinary(FileDescriptorProtoSchema, file)).toEqual(before);
  });
});

describe("normalized()", () => {
  test("is the same whatever the order", () => {
    const [a, b] = [proto(files, "ordered.proto"), proto(bare, "shuffled.proto")];
    expect(schemaGuid(a)).not.toBe(schemaGuid(b));
    same(normalized(a), normalized(b));
    same(normalized(normalized(a)), normalized(a));
  });

  test("keeps imports public, fields in their oneofs, and what comes first in an enum", () => {
    const file = normalized(proto(bare, "shuffled.proto"));
    expect(file.publicDependency.map((index) => file.dependency[index])).toEqual([
      "google/protobuf/duration.proto",
    ]);
    const [message] = file.messageType;
    const fields = message?.field.map((field) =>
      isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex)
        ? `${message.oneofDecl[field.oneofIndex]?.name}.${field.name}`
        : field.name,
    );
    expect(fields?.join(" ")).toBe("any first.x first.y _set.set counts second.v second.w names");
    expect(message?.nestedType.map(({ name }) => name)).toEqual(["CountsEntry", "NamesEntry", "Inner"]);
    expect(file.enumType[0]?.value.map(({ name }) => name)).toEqual([
      "E_ZERO",
      "E_MINUS",
      "E_ONE",
      "E_UNO",
      "E_TWO",
    ]);
  });

  test("keeps the order of messages", () => {
    const [a, b] = [proto(files, "ordered.proto"), proto(bare, "shuffled.proto")].map(normalized);
    expect(a?.messageType.map(({ name }) => name)).toEqual(["M", "N"]);
    b?.messageType.reverse();
    expect(schemaGuid(normalized(b as FileDescriptorProto))).not.toBe(schemaGuid(a as FileDescriptorProto));
  });
});

async function generatedFile(path: string): Promise<FileDescriptorProto> {
  const module = await import(/* @vite-ignore */ join(root, "gen", path.replace(/\.proto$/, "_pb.ts")));
  const file = Object.values<{ kind?: string; proto?: FileDescriptorProto }>(module).find(
    ({ kind }) => kind === "file",
  );
  if (file?.proto === undefined) throw new Error(`Cannot find the descriptor of ${path} in gen/`);
  return file.proto;
}
