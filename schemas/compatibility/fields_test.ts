import { type Edit, testEdits } from "./testing.ts";

const proto2 = (text: string) => `syntax = "proto2"; package $; ${text}`;
const edition = (text: string) => `edition = "2023"; package $; ${text}`;
const message = (fields: string) => `message A { ${fields} }`;

testEdits("compare() of fields", [
  // Fields
  ["field added", message(""), message("int32 x = 1;"), ["FIELD_ADDED #/A/1"], ["FIELD_REMOVED #/A/1"]],
  [
    "field renamed",
    message("int32 x = 1;"),
    message("int32 y = 1;"),
    ["FIELD_RENAMED #/A/1"],
    ["FIELD_RENAMED #/A/1"],
  ],
  [
    "fields in another order",
    message("int32 x = 1; int32 y = 2;"),
    message("int32 y = 2; int32 x = 1;"),
    [],
    [],
  ],
  [
    "field renumbered",
    message("int32 x = 1;"),
    message("int32 x = 2;"),
    ["FIELD_ADDED #/A/2", "FIELD_REMOVED #/A/1"],
    ["FIELD_ADDED #/A/1", "FIELD_REMOVED #/A/2"],
  ],
  [
    "field removed and reserved",
    message("int32 x = 1;"),
    message("reserved 1;"),
    ["FIELD_REMOVED #/A/1"],
    ["FIELD_ADDED #/A/1"],
  ],
  [
    "JSON name, options, comments",
    message("int32 x = 1;"),
    message(`/* x */ int32 x = 1 [json_name = "z", deprecated = true];`),
    [],
    [],
  ],
  [
    "scalar to message",
    "message B {} message A { bytes x = 1; }",
    "message B {} message A { B x = 1; }",
    ["!FIELD_KIND_CHANGED #/A/1"],
    ["!FIELD_KIND_CHANGED #/A/1"],
  ],
  [
    "enum to message",
    "message B {} enum E { Z = 0; } message A { E x = 1; }",
    "message B {} enum E { Z = 0; } message A { B x = 1; }",
    ["!FIELD_KIND_CHANGED #/A/1"],
    ["!FIELD_KIND_CHANGED #/A/1"],
  ],
  [
    "list of messages that a map would be to a map",
    "message B { int32 key = 1; int32 value = 2; } message A { repeated B x = 1; }",
    "message B { int32 key = 1; int32 value = 2; } message A { map<int32, int32> x = 1; }",
    ["!FIELD_KIND_CHANGED #/A/1"],
    ["!FIELD_KIND_CHANGED #/A/1"],
  ],
  [
    "list of scalars to a map",
    message("repeated int32 x = 1;"),
    message("map<int32, int32> x = 1;"),
    ["!FIELD_KIND_CHANGED #/A/1"],
    ["!FIELD_KIND_CHANGED #/A/1"],
  ],
  [
    "list of scalars to a list of messages",
    "message B {} message A { repeated string x = 1; }",
    "message B {} message A { repeated B x = 1; }",
    ["!FIELD_KIND_CHANGED #/A/1"],
    ["!FIELD_KIND_CHANGED #/A/1"],
  ],
  [
    "scalar across groups",
    message("int32 x = 1;"),
    message("sint32 x = 1;"),
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1"],
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1"],
  ],
  [
    "scalar within a group",
    message("int32 x = 1;"),
    message("bool x = 1;"),
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1"],
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1"],
  ],
  [
    "message type changed, of the same content",
    "message B {} message C {} message A { B x = 1; repeated B y = 2; }",
    "message B {} message C {} message A { C x = 1; repeated C y = 2; }",
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1", "!FIELD_NAMED_TYPE_CHANGED #/A/2"],
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1", "!FIELD_NAMED_TYPE_CHANGED #/A/2"],
  ],
  [
    "message to its group",
    edition("message A { B x = 1; repeated B y = 2; } message B {}"),
    edition(
      "message A { B x = 1 [features.message_encoding = DELIMITED]; repeated B y = 2 [features.message_encoding = DELIMITED]; } message B {}",
    ),
    ["!FIELD_ENCODING_CHANGED #/A/1", "!FIELD_ENCODING_CHANGED #/A/2"],
    ["!FIELD_ENCODING_CHANGED #/A/1", "!FIELD_ENCODING_CHANGED #/A/2"],
  ],
  [
    "group to message",
    proto2("message A { optional group B = 1 { optional int32 x = 1; } }"),
    proto2("message A { message B { optional int32 x = 1; } optional B b = 1; }"),
    ["!FIELD_ENCODING_CHANGED #/A/1"],
    ["!FIELD_ENCODING_CHANGED #/A/1"],
  ],
  [
    "field of a group changed",
    proto2("message A { optional group B = 1 { optional int32 x = 1; } }"),
    proto2("message A { optional group B = 1 { optional string x = 1; } }"),
    ["!FIELD_SCALAR_KIND_CHANGED #/A.B/1"],
    ["!FIELD_SCALAR_KIND_CHANGED #/A.B/1"],
  ],

  // Labels
  ...["int32", "bool", "sint64", "fixed32", "sfixed64", "float", "double", "E"].map(
    (type): Edit => [
      `numeric label changed where one is implicit: ${type}`,
      `message A { ${type} x = 1; } enum E { Z = 0; }`,
      `message A { repeated ${type} x = 1; } enum E { Z = 0; }`,
      ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1"],
      ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1"],
    ],
  ),
  ...["int32", "double", "E"].map(
    (type): Edit => [
      `numeric label changed where both are explicit: ${type}`,
      `message A { optional ${type} x = 1; } enum E { Z = 0; }`,
      `message A { repeated ${type} x = 1; } enum E { Z = 0; }`,
      ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1"],
      ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1"],
    ],
  ),
  [
    "numeric label changed in proto2, packed or not",
    proto2("message A { optional int32 x = 1; optional int32 y = 2; }"),
    proto2("message A { repeated int32 x = 1; repeated int32 y = 2 [packed = true]; }"),
    ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1", "!FIELD_NUMERIC_LABEL_CHANGED #/A/2"],
    ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1", "!FIELD_NUMERIC_LABEL_CHANGED #/A/2"],
  ],
  [
    "packing changed",
    message("repeated int32 x = 1;"),
    message("repeated int32 x = 1 [packed = false];"),
    [],
    [],
  ],
  [
    "label of string and bytes changed",
    message("string x = 1; bytes y = 2; optional string z = 3;"),
    message("repeated string x = 1; repeated bytes y = 2; repeated string z = 3;"),
    [
      "FIELD_STRING_LABEL_CHANGED #/A/1",
      "FIELD_STRING_LABEL_CHANGED #/A/2",
      "FIELD_STRING_LABEL_CHANGED #/A/3",
    ],
    [
      "FIELD_STRING_LABEL_CHANGED #/A/1",
      "FIELD_STRING_LABEL_CHANGED #/A/2",
      "FIELD_STRING_LABEL_CHANGED #/A/3",
    ],
  ],
  [
    "label changed between a string and numbers",
    message("string x = 1;"),
    message("repeated int32 x = 1;"),
    ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1", "!FIELD_SCALAR_KIND_CHANGED #/A/1"],
    ["!FIELD_NUMERIC_LABEL_CHANGED #/A/1", "!FIELD_SCALAR_KIND_CHANGED #/A/1"],
  ],
  [
    "label of a message changed",
    "message B {} message A { B x = 1; }",
    "message B {} message A { repeated B x = 1; }",
    ["FIELD_MESSAGE_LABEL_CHANGED #/A/1"],
    ["FIELD_MESSAGE_LABEL_CHANGED #/A/1"],
  ],
  [
    "field becomes optional",
    message("int32 x = 1; string y = 2; A z = 3;"),
    message("optional int32 x = 1; optional string y = 2; optional A z = 3;"),
    ["FIELD_PRESENCE_CHANGED #/A/1", "FIELD_PRESENCE_CHANGED #/A/2"],
    ["FIELD_PRESENCE_CHANGED #/A/1", "FIELD_PRESENCE_CHANGED #/A/2"],
  ],
  [
    "proto2 to proto3",
    proto2("message A { optional int32 x = 1; repeated int32 y = 2; optional A z = 3; }"),
    "message A { optional int32 x = 1; repeated int32 y = 2; A z = 3; }",
    [],
    [],
  ],

  // Required fields
  ...["int32", "string", "bytes", "double", "E", "B"].flatMap((type): Edit[] => {
    const rest = "message B {} enum E { Z = 1; }";
    return [
      [
        `required field added: ${type}`,
        proto2(`message A {} ${rest}`),
        proto2(`message A { required ${type} x = 1; } ${rest}`),
        ["!REQUIRED_FIELD_ADDED #/A/1"],
        ["!REQUIRED_FIELD_REMOVED #/A/1"],
      ],
      [
        `field becomes required: ${type}`,
        proto2(`message A { optional ${type} x = 1; } ${rest}`),
        proto2(`message A { required ${type} x = 1; } ${rest}`),
        ["!REQUIRED_FIELD_ADDED #/A/1"],
        ["!REQUIRED_FIELD_REMOVED #/A/1"],
      ],
      [
        `field becomes required in an edition: ${type}`,
        edition(`message A { ${type} x = 1; } message B {} enum E { Z = 0; }`),
        edition(
          `message A { ${type} x = 1 [features.field_presence = LEGACY_REQUIRED]; } message B {} enum E { Z = 0; }`,
        ),
        ["!REQUIRED_FIELD_ADDED #/A/1"],
        ["!REQUIRED_FIELD_REMOVED #/A/1"],
      ],
    ];
  }),
  [
    "required stays required, and is renamed",
    proto2("message A { required int32 x = 1; }"),
    edition("message A { int32 y = 1 [features.field_presence = LEGACY_REQUIRED]; }"),
    ["FIELD_RENAMED #/A/1"],
    ["FIELD_RENAMED #/A/1"],
  ],
  [
    "message with a required field added",
    proto2("message A {}"),
    proto2("message A { optional B b = 1; message B { required int32 x = 1; } }"),
    ["FIELD_ADDED #/A/1", "MESSAGE_ADDED #/A.B"],
    ["!MESSAGE_REMOVED #/A.B", "FIELD_REMOVED #/A/1"],
  ],
  [
    "required list",
    proto2("message A { required string x = 1; }"),
    proto2("message A { repeated string x = 1; }"),
    ["!REQUIRED_FIELD_REMOVED #/A/1", "FIELD_STRING_LABEL_CHANGED #/A/1"],
    ["!REQUIRED_FIELD_ADDED #/A/1", "FIELD_STRING_LABEL_CHANGED #/A/1"],
  ],

  // Maps
  [
    "map: key and value within their groups",
    message("map<int32, string> x = 1;"),
    message("map<uint64, bytes> x = 1;"),
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1/key", "FIELD_SCALAR_TYPE_CHANGED #/A/1/value"],
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1/key", "FIELD_SCALAR_TYPE_CHANGED #/A/1/value"],
  ],
  [
    "map: key and value across groups",
    message("map<int32, string> x = 1;"),
    message("map<string, int32> x = 1;"),
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/key", "!FIELD_SCALAR_KIND_CHANGED #/A/1/value"],
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/key", "!FIELD_SCALAR_KIND_CHANGED #/A/1/value"],
  ],
  [
    "map: scalar value to message",
    "message A { map<int32, bytes> x = 1; } message B {}",
    "message A { map<int32, B> x = 1; } message B {}",
    ["!FIELD_KIND_CHANGED #/A/1/value"],
    ["!FIELD_KIND_CHANGED #/A/1/value"],
  ],
  [
    "map: enum value to number",
    "message A { map<int32, E> x = 1; } enum E { Z = 0; }",
    "message A { map<int32, bool> x = 1; } enum E { Z = 0; }",
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1/value"],
    ["FIELD_SCALAR_TYPE_CHANGED #/A/1/value"],
  ],
  [
    "map: message value of another type",
    "message A { map<int32, B> x = 1; } message B {} message C {}",
    "message A { map<int32, C> x = 1; } message B {} message C {}",
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1/value"],
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1/value"],
  ],
  [
    "map: message value through an import",
    {
      main: `import "$/b.proto"; message A { map<int32, $.types.B> x = 1; }`,
      b: `syntax = "proto3"; package $.types; message B { int32 y = 1; }`,
    },
    {
      main: `import "$/b.proto"; message A { map<int32, $.types.B> x = 1; }`,
      b: `syntax = "proto3"; package $.types; message B { string y = 1; }`,
    },
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/$.types.B/1"],
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1/$.types.B/1"],
  ],
]);
