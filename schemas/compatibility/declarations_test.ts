import { testEdits } from "./testing.ts";

const proto2 = (text: string) => `syntax = "proto2"; package $; ${text}`;

testEdits("compare() of declarations", [
  // Packages
  [
    "package changed",
    "message A { B b = 1; } message B {}",
    `syntax = "proto3"; package $.v2; message A { B b = 1; } message B {}`,
    ["!PACKAGE_CHANGED #/"],
    ["!PACKAGE_CHANGED #/"],
  ],
  [
    "package changed, and something else",
    "message A { int32 x = 1; }",
    `syntax = "proto3"; package $.v2; message A { string x = 1; }`,
    ["!FIELD_KIND_CHANGED".replace("KIND", "SCALAR_KIND").concat(" #/A/1"), "!PACKAGE_CHANGED #/"],
    ["!FIELD_SCALAR_KIND_CHANGED #/A/1", "!PACKAGE_CHANGED #/"],
  ],

  // Messages
  [
    "message added",
    "message A {}",
    "message A {} message B {}",
    ["MESSAGE_ADDED #/B"],
    ["!MESSAGE_REMOVED #/B"],
  ],
  [
    "message renamed",
    "message A {}",
    "message B {}",
    ["!MESSAGE_REMOVED #/A", "MESSAGE_ADDED #/B"],
    ["!MESSAGE_REMOVED #/B", "MESSAGE_ADDED #/A"],
  ],
  [
    "message moved within the file",
    "message A {} message B {} message C {}",
    "message A {} message C {} message B {}",
    ["MESSAGE_MOVED #/B", "MESSAGE_MOVED #/C"],
    ["MESSAGE_MOVED #/B", "MESSAGE_MOVED #/C"],
  ],
  [
    "nested message added",
    "message A {}",
    "message A { message B { message C {} } }",
    ["MESSAGE_ADDED #/A.B"],
    ["!MESSAGE_REMOVED #/A.B"],
  ],
  [
    "nested message moved to the top",
    "message A { message B {} B b = 1; }",
    "message A { B b = 1; } message B {}",
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1", "!MESSAGE_REMOVED #/A.B", "MESSAGE_ADDED #/B"],
    ["!FIELD_NAMED_TYPE_CHANGED #/A/1", "!MESSAGE_REMOVED #/B", "MESSAGE_ADDED #/A.B"],
  ],
  [
    "message moved to a file that is imported",
    "message A { B b = 1; } message B { int32 x = 1; message In {} enum E { Z = 0; } }",
    {
      main: `import "$/b.proto"; message A { B b = 1; }`,
      b: "message B { int32 x = 1; message In {} enum E { Z = 0; } }",
    },
    ["MESSAGE_MOVED #/B"],
    ["MESSAGE_MOVED #/B"],
  ],
  [
    "message moved to a file that is imported, and changed",
    "message A { B b = 1; } message B { int32 x = 1; message In {} message On { int32 x = 1; } }",
    {
      main: `import "$/b.proto"; message A { B b = 1; }`,
      b: "message B { string x = 1; message On { bool x = 1; } }",
    },
    [
      "!FIELD_SCALAR_KIND_CHANGED #/B/1",
      "!MESSAGE_REMOVED #/B.In",
      "FIELD_SCALAR_TYPE_CHANGED #/B.On/1",
      "MESSAGE_MOVED #/B",
    ],
    ["!FIELD_SCALAR_KIND_CHANGED #/B/1", "MESSAGE_MOVED #/B"],
  ],
  [
    "message moved to an imported file of another package",
    "message A { B b = 1; } message B {}",
    {
      main: `import "$/b.proto"; message A { $.types.B b = 1; }`,
      b: `syntax = "proto3"; package $.types; message B {}`,
    },
    ["!MESSAGE_REMOVED #/B", "FIELD_TYPE_MOVED #/A/1"],
    ["FIELD_TYPE_MOVED #/A/1", "MESSAGE_ADDED #/B"],
  ],
  [
    "message moved to an imported file where nothing leads to it",
    "message A {} message B {}",
    { main: `import "$/b.proto"; message A {}`, b: "message B {}" },
    ["!MESSAGE_REMOVED #/B"],
    ["MESSAGE_ADDED #/B"],
  ],

  // Enums
  ["enum added", "", "enum E { Z = 0; }", ["ENUM_ADDED #/E"], ["ENUM_REMOVED #/E"]],
  [
    "nested enum added",
    "message A {}",
    "message A { enum E { Z = 0; } }",
    ["ENUM_ADDED #/A.E"],
    ["ENUM_REMOVED #/A.E"],
  ],
  [
    "enum value added",
    "enum E { Z = 0; }",
    "enum E { Z = 0; O = 1; }",
    ["ENUM_VALUE_ADDED #/E/1"],
    ["ENUM_VALUE_REMOVED #/E/1"],
  ],
  [
    "enum value changed",
    "enum E { Z = 0; O = 1; }",
    "enum E { Z = 0; U = 1; }",
    ["ENUM_VALUE_CHANGED #/E/1"],
    ["ENUM_VALUE_CHANGED #/E/1"],
  ],
  [
    "enum alias added",
    "enum E { option allow_alias = true; Z = 0; N = 0; O = 1; }",
    "enum E { option allow_alias = true; Z = 0; N = 0; O = 1; U = 1; }",
    ["ENUM_VALUE_CHANGED #/E/1"],
    ["ENUM_VALUE_CHANGED #/E/1"],
  ],
  [
    "value of a closed enum added",
    proto2("enum E { Z = 1; } message A { optional E e = 1; repeated E es = 2; map<int32, E> m = 3; }"),
    proto2(
      "enum E { Z = 1; O = 2; } message A { optional E e = 1; repeated E es = 2; map<int32, E> m = 3; }",
    ),
    ["ENUM_VALUE_ADDED #/E/2"],
    ["ENUM_VALUE_REMOVED #/E/2"],
  ],
  [
    "enum renamed that a field has",
    "enum E { Z = 0; } message A { E e = 1; repeated E es = 2; }",
    "enum F { Z = 0; } message A { F e = 1; repeated F es = 2; }",
    ["ENUM_ADDED #/F", "ENUM_REMOVED #/E", "FIELD_ENUM_TYPE_CHANGED #/A/1", "FIELD_ENUM_TYPE_CHANGED #/A/2"],
    ["ENUM_ADDED #/E", "ENUM_REMOVED #/F", "FIELD_ENUM_TYPE_CHANGED #/A/1", "FIELD_ENUM_TYPE_CHANGED #/A/2"],
  ],
]);
