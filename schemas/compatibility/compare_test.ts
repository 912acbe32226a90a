import { testEdits } from "./testing.ts";

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
