import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DescFile, DescMessage } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, test } from "vitest";
import { fromFileSet, toFileSet } from "../files.ts";
import { compare, compareMessages } from "./mod.ts";
import { compileAll, inShort, testEdits } from "./testing.ts";

const proto2 = (text: string) => `syntax = "proto2"; package $; ${text}`;
const message = (fields: string) => `message A { ${fields} }`;
/** A file that has a message of another one, which has changed. */
const imports = (line: string, main = "") => ({
  main: `import "$/line.proto"; message A { $.types.Line line = 1; } ${main}`,
  line: `syntax = "proto3"; package $.types; ${line}`,
});

testEdits("compare()", [
  // Imports
  [
    "import: what is not reached may change",
    imports("message Line {} message Other { int32 x = 1; } enum E { Z = 0; }"),
    imports("message Line {} message More {}"),
    [],
    [],
  ],
  [
    "import: field across groups",
    imports("message Line { int32 x = 1; }"),
    imports("message Line { string x = 1; }"),
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/$.types.Line/1"],
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/$.types.Line/1"],
  ],
  [
    "import: nested message and enum that are reached, oneof",
    imports(
      "message Line { In in = 1; message In { E e = 4; oneof o { int32 x = 1; int32 y = 2; } } } enum E { Z = 0; }",
    ),
    imports(
      "message Line { In in = 1; message In { E e = 4; oneof o { int32 x = 1; } } } enum E { Z = 0; O = 1; }",
    ),
    ["!ONEOF_FIELD_REMOVED #/A/1/$.types.Line.In/2", "ENUM_VALUE_ADDED #/A/1/$.types.E/1"],
    ["ENUM_VALUE_REMOVED #/A/1/$.types.E/1", "ONEOF_FIELD_ADDED #/A/1/$.types.Line.In/2"],
  ],
  [
    "import: required field in a message two imports away",
    {
      main: `import "$/b.proto"; message A { int32 n = 1; repeated B bs = 7; }`,
      b: `import "$/c.proto"; message B { $.c.C c = 2; }`,
      c: `syntax = "proto2"; package $.c; message C { optional int32 x = 3; }`,
    },
    {
      main: `import "$/b.proto"; message A { int32 n = 1; repeated B bs = 7; }`,
      b: `import "$/c.proto"; message B { $.c.C c = 2; }`,
      c: `syntax = "proto2"; package $.c; message C { required int32 x = 3; }`,
    },
    ["!REQUIRED_FIELD_ADDED #/A/7/$.c.C/3"],
    ["!REQUIRED_FIELD_REMOVED #/A/7/$.c.C/3"],
  ],
  [
    "import: type in another package, the same relative to it",
    imports("message Line { int32 x = 1; }"),
    {
      main: `import "$/line.proto"; message A { $.types.v2.Line line = 1; }`,
      line: `syntax = "proto3"; package $.types.v2; message Line { bool x = 1; }`,
    },
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1/$.types.Line/1", "FIELD_TYPE_MOVED #/A/1"],
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1/$.types.v2.Line/1", "FIELD_TYPE_MOVED #/A/1"],
  ],
  [
    "import: type of another name relative to its package",
    imports("message Line {}"),
    {
      main: `import "$/line.proto"; message A { $.types.Other.Line line = 1; }`,
      line: `syntax = "proto3"; package $.types; message Other { message Line {} }`,
    },
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1"],
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1"],
  ],
  [
    "import: well-known types",
    `import "google/protobuf/timestamp.proto"; message A { google.protobuf.Timestamp t = 1; }`,
    `import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto";
     message A { google.protobuf.Timestamp t = 1; google.protobuf.Struct s = 2; google.protobuf.NullValue n = 3; }`,
    ["FIELD_ADDED #/A/2", "FIELD_ADDED #/A/3"],
    ["FIELD_REMOVED #/A/2", "FIELD_REMOVED #/A/3"],
  ],
  [
    "import: one well-known type for another",
    `import "google/protobuf/timestamp.proto"; message A { google.protobuf.Timestamp t = 1; }`,
    `import "google/protobuf/duration.proto"; message A { google.protobuf.Duration t = 1; }`,
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1"],
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1"],
  ],

  // Messages that contain themselves, or each other
  [
    "recursion: each message is looked at once",
    "message A { A a = 1; B b = 2; repeated B bs = 3; } message B { A a = 1; map<string, B> m = 2; int32 x = 9; }",
    "message A { A a = 1; B b = 2; repeated B bs = 3; } message B { A a = 1; map<string, B> m = 2; string x = 9; }",
    ["!FIELD_SCALAR_KIND_CHANGED #/B/9"],
    ["!FIELD_SCALAR_KIND_CHANGED #/B/9"],
  ],
  [
    "recursion: through an import",
    imports(
      "message Line { Line line = 1; Part part = 2; } message Part { repeated Line lines = 1; int32 x = 2; }",
    ),
    imports(
      "message Line { Line line = 1; Part part = 2; } message Part { repeated Line lines = 1; double x = 2; }",
    ),
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/$.types.Part/2"],
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/$.types.Part/2"],
  ],

  // What is not looked at
  [
    "service and methods",
    "message A {} service S { rpc F(A) returns (A); }",
    "message A {} service T { rpc G(A) returns (stream A); }",
    [],
    [],
  ],
  [
    "extensions and their ranges",
    proto2("message A { extensions 100 to 199; } extend A { optional int32 x = 100; }"),
    proto2("message A { extensions 150 to max; } extend A { optional string x = 150; }"),
    [],
    [],
  ],
  [
    "default value",
    proto2(message("optional int32 x = 1 [default = 1];")),
    proto2(message("optional int32 x = 1;")),
    [],
    [],
  ],
  [
    "file without a package",
    `syntax = "proto3"; message P$ { P$ p = 1; }`,
    `syntax = "proto3"; message P$ { P$ p = 1; bool x = 2; }`,
    ["FIELD_ADDED #/P$/2"],
    ["FIELD_REMOVED #/P$/2"],
  ],
]);

describe("compareMessages()", () => {
  const line = { line: `syntax = "proto3"; package $.types; message Line { int32 x = 1; }` };
  const changed = { line: `syntax = "proto3"; package $.types; message Line { string x = 1; }` };
  let own: [before: DescFile, after: DescFile];
  let imported: [before: DescFile, after: DescFile];
  let moved: [before: DescFile, after: DescFile];
  beforeAll(async () => {
    const all = await compileAll([
      [
        "message Other {} message A { B b = 1; E e = 2; message In {} } message B { int32 x = 1; } enum E { Z = 0; } enum F { Y = 0; }",
        "message A { B b = 1; E e = 2; int32 n = 3; } message B { string x = 1; } enum E { Z = 0; O = 1; } message C {}",
      ],
      [
        {
          main: `import "$/line.proto"; message A { $.types.Line line = 4; } message Other { int32 x = 1; }`,
          ...line,
        },
        {
          main: `import "$/line.proto"; message A { $.types.Line line = 4; } message Other { string x = 1; }`,
          ...changed,
        },
      ],
      ["message A {} message B {}", `syntax = "proto3"; package $.v2; message A {}`],
    ]);
    [own, imported, moved] = all as [typeof own, typeof own, typeof own];
  });

  const found = ([before, after]: [DescFile, DescFile], name = "A", other = name) => {
    const [old, now] = [before, after].map((file, side) => {
      return file.messages.find((it) => it.name === [name, other][side]);
    }) as [DescMessage, DescMessage];
    return inShort(compareMessages(old, now));
  };

  test("tells what a message and those that it reaches have otherwise, whatever else is in the file", () => {
    expect(found(own)).toEqual([
      "!FIELD_SCALAR_KIND_CHANGED #/B/1",
      "ENUM_VALUE_ADDED #/E/1",
      "FIELD_ADDED #/A/3",
    ]);
    expect(found(imported)).toEqual(["!FIELD_SCALAR_KIND_CHANGED #/A/4/p1.types.Line/1"]);
    expect(found([own[0], own[0]])).toEqual([]);
  });

  test("takes another package, and another name, for what it is", () => {
    expect(found(moved)).toEqual(["!PACKAGE_CHANGED #/"]);
    expect(found(moved, "B", "A")).toEqual(["!MESSAGE_REMOVED #/B", "!PACKAGE_CHANGED #/"]);
  });
});

describe("compare() of a file with itself", async () => {
  const folder = fileURLToPath(new URL("../../gen", import.meta.url));
  const paths = (await readdir(folder, { recursive: true })).filter((path) => path.endsWith("_pb.ts"));

  test("finds nothing in this project's own, as generated and as compiled again", async () => {
    expect(paths.length).toBeGreaterThan(30);
    for (const path of paths) {
      const file = await generated(join(folder, path));
      expect(compare(file, file)).toEqual([]);
      expect(compare(file, fromFileSet(toFileSet(file)))).toEqual([]);
      expect(compare(fromFileSet(toFileSet(file)), file)).toEqual([]);
    }
  });
});

async function generated(path: string): Promise<DescFile> {
  const module: Record<string, DescFile> = await import(/* @vite-ignore */ path);
  return Object.values(module).find(({ kind }) => kind === "file") as DescFile;
}
