import { fileURLToPath } from "node:url";
import { createFileRegistry, type DescFile, toJson } from "@bufbuild/protobuf";
import * as wellKnown from "@bufbuild/protobuf/wkt";
import { beforeAll, describe, expect, test } from "vitest";
import { normalized, schemaGuid } from "./canonical.ts";
import { build, compile, type Sources } from "./compile.ts";
import { type FileSet, fileOf } from "./files.ts";
import { printFile } from "./print.ts";
import { quote } from "./print_options.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** One file for each part of the language, by what is hard about it. */
const hard: Record<string, string> = {
  "labels_and_defaults.proto": String.raw`
    package labels;
    enum Colour { RED = 3; BLUE = -4; }
    message Defaults {
      required int32 needed = 1 [default = -5, deprecated = false];
      optional string text = 2 [default = "é \" \' \\ \t \x01\x31 \n\?/* */ //"];
      optional bytes raw = 3 [default = "a\x00\"\377\n\\1"];
      optional float inf = 4 [default = inf];
      optional float minus_inf = 5 [default = -inf];
      optional double nan = 6 [default = nan];
      optional double minus_zero = 7 [default = -0.0];
      optional float tenth = 8 [default = 0.1];
      optional double big = 9 [default = 1.5e300];
      optional uint64 most = 10 [default = 18446744073709551615];
      optional sfixed64 least = 11 [default = -9223372036854775808];
      optional bool yes = 12 [default = true];
      optional Colour colour = 13 [default = BLUE];
      optional string empty = 14 [default = ""];
      repeated fixed32 packed_one = 15 [packed = true];
      optional string named = 16 [json_name = "a \"quoted\" name", ctype = CORD];
      optional int64 as_text = 17 [jstype = JS_STRING, deprecated = true, lazy = false];
    }`,
  "groups_and_extensions.proto": `
    package groups;
    message Before {}
    message Extended {
      extensions 100 to 199 [declaration = { number: 100 full_name: ".groups.gone" type: "int32" reserved: true },
        declaration = { number: 101 full_name: ".groups.After.seen" type: ".groups.Before" repeated: true }];
      extensions 201, 203 to 204;
      extensions 1000 to max [verification = UNVERIFIED];
      message Set { option message_set_wire_format = true; extensions 4 to max; }
    }
    extend Extended { optional int32 number = 201; repeated group Many = 203 { optional Many again = 1; } }
    message After {
      extend Extended { repeated Before seen = 101; }
      message First {}
      map<string, First> firsts = 1;
      message Second {}
      optional group Inner = 2 [deprecated = true] { optional Second second = 1; message Third {} }
      oneof choice { group One = 3 {} group Two = 4 { map<int32, bytes> raw = 1; } string text = 5; }
      message Fourth {}
      extend Extended.Set { optional Fourth fourth = 5; }
      extend Extended { optional Fourth fifth = 1000; }
    }
    extend Extended.Set { optional After after = 6; }`,
  "reserved.proto": `
    package reserved;
    message M { reserved 2, 4 to 6, 1000 to max; reserved "a", "b"; }
    enum E { option allow_alias = true; option deprecated = true; A = 1; B = 1 [deprecated = true];
      reserved -10 to -5, 7, 100 to max; reserved "c"; }`,
  "proto3.proto": `syntax = "proto3";
    package three;
    import public "google/protobuf/timestamp.proto"; import "google/protobuf/any.proto"; import weak "reserved.proto";
    import "google/protobuf/descriptor.proto";
    option java_package = "com.example.\\"three\\""; option java_multiple_files = true; option optimize_for = CODE_SIZE;
    option go_package = "example.com/three;three"; option objc_class_prefix = "É"; option cc_enable_arenas = false;
    enum E { ZERO = 0; MINUS = -1; }
    message M {
      optional string set = 1;
      string unset = 2;
      oneof choice { int32 number = 3; google.protobuf.Timestamp at = 9; }
      map<int64, google.protobuf.Any> by_id = 4;
      map<string, E> by_name = 5 [deprecated = true];
      repeated int32 unpacked = 6 [packed = false];
      optional E e = 7;
      oneof other { string x = 8; }
      message Any { .google.protobuf.Any any = 1; Any self = 2; message Any { string name = 1; } }
      message three { M m = 1; }
      reserved.M there = 10;
    }
    extend google.protobuf.FieldOptions { optional string mark = 50000; string note = 50001; repeated M many = 50002; }
    service S {
      option deprecated = true;
      rpc Get(M) returns (M);
      rpc Watch(M) returns (stream M) { option deprecated = true; option idempotency_level = NO_SIDE_EFFECTS; }
      rpc Send(stream M) returns (M);
      rpc Talk(stream stream) returns (stream stream);
    }
    message stream {}
    service Empty {}`,
  "edition_2023.proto": `edition = "2023";
    package e2023;
    option features.field_presence = IMPLICIT; option features.enum_type = CLOSED;
    enum Closed { ONE = 1 [feature_support = { edition_introduced: EDITION_2023, edition_deprecated: EDITION_2024,
      deprecation_warning: "use \\"two\\"" }, debug_redact = true]; reserved gone; }
    enum Open { option features.enum_type = OPEN; NONE = 0; }
    message M {
      string explicit = 1 [features.field_presence = EXPLICIT, default = "x"];
      string required = 2 [features.field_presence = LEGACY_REQUIRED];
      M delimited = 3 [features.message_encoding = DELIMITED];
      repeated int32 expanded = 4 [features = { repeated_field_encoding: EXPANDED }, retention = RETENTION_SOURCE,
        targets = TARGET_TYPE_FILE, targets = TARGET_TYPE_FIELD,
        edition_defaults = { edition: EDITION_2023 value: "x" }, edition_defaults = { edition: EDITION_2024 value: "y" }];
      map<string, M> map = 5;
      oneof oneof { string reserved = 6; .e2023.M.optional option = 7; }
      string message = 8; string extensions = 9;
      message optional {}
      extensions 100 to 110 [features.utf8_validation = NONE];
      reserved a, b;
    }`,
  "edition_2024.proto": `edition = "2024";
    import option "reserved.proto";
    option features.enforce_naming_style = STYLE_LEGACY; option features.default_symbol_visibility = EXPORT_ALL;
    local message M { export message Nested { string s = 1; } local enum E { ZERO = 0; } M.Nested nested = 1; }
    export enum Shown { option features.enum_type = CLOSED; ZERO = 5; }`,
};

const wellKnownFiles = Object.values<unknown>(wellKnown).filter(
  (each): each is DescFile => (each as { kind?: string } | undefined)?.kind === "file",
);

let hardFiles: DescFile[];
let shopFiles: DescFile[];
let normalizedFiles: DescFile[];
let copies: Record<"hard" | "shop" | "normalized" | "wellKnown", FileSet>;
beforeAll(async () => {
  const [compiled, image] = await Promise.all([compile(hard), build(".", { cwd: root })]);
  hardFiles = Object.keys(hard).map((path) => fileOf(compiled, path));
  shopFiles = [...createFileRegistry(image).files].filter(({ proto }) => proto.name.startsWith("shop/"));
  normalizedFiles = hardFiles.map(({ proto: { name }, proto }) => {
    const file = Object.assign(normalized(proto), { name });
    return fileOf(
      createFileRegistry(file, (path) => compiled.getFile(path)),
      name,
    );
  });
  const [a, b, c, d] = await Promise.all(
    [hardFiles, shopFiles, normalizedFiles, wellKnownFiles].map((files) => compile(textsOf(files))),
  );
  copies = { hard: a, shop: b, normalized: c, wellKnown: d } as typeof copies;
});

function textsOf(files: readonly DescFile[]): Sources {
  return Object.fromEntries(files.map((file) => [file.proto.name, printFile(file)]));
}

/** All of a descriptor, as something whose differences can be read. */
function json(file: DescFile) {
  return toJson(wellKnown.FileDescriptorProtoSchema, file.proto);
}

const hardFile = (path: string) => hardFiles.find(({ proto }) => proto.name === path) as DescFile;

describe("printFile()", () => {
  test.each(Object.keys(hard))("prints %s as text that compiles to the same descriptor", (path) => {
    expect(json(fileOf(copies.hard, path))).toEqual(json(hardFile(path)));
  });

  test("prints each file of proto/ so, and the text has the guid of the file", () => {
    expect(shopFiles.length).toBeGreaterThan(30);
    for (const file of shopFiles) {
      const copy = fileOf(copies.shop, file.proto.name);
      expect(json(copy)).toEqual(json(file));
      expect(schemaGuid(copy.proto)).toBe(schemaGuid(file.proto));
    }
  });

  test("prints the well-known types so, that the language itself is described by too", () => {
    expect(wellKnownFiles.map(({ proto }) => proto.name)).toContain("google/protobuf/descriptor.proto");
    expect(wellKnownFiles.length).toBeGreaterThan(10);
    for (const file of wellKnownFiles) {
      const copy = fileOf(copies.wellKnown, file.proto.name);
      expect([file.proto.name, schemaGuid(copy.proto)]).toEqual([file.proto.name, schemaGuid(file.proto)]);
    }
  });

  test("prints what is normalized as text that compiles to exactly that", () => {
    for (const file of normalizedFiles) {
      const copy = fileOf(copies.normalized, file.proto.name);
      expect([file.proto.name, schemaGuid(copy.proto)]).toEqual([file.proto.name, schemaGuid(file.proto)]);
      expect(schemaGuid(normalized(copy.proto))).toBe(schemaGuid(copy.proto));
    }
  });

  test("prints a file as somebody would write it", () => {
    expect(printFile(hardFile("edition_2024.proto"))).toBe(`edition = "2024";

import option "reserved.proto";

option features.enforce_naming_style = STYLE_LEGACY;
option features.default_symbol_visibility = EXPORT_ALL;

export enum Shown {
  option features.enum_type = CLOSED;
  ZERO = 5;
}

local message M {
  local enum E {
    ZERO = 0;
  }
  export message Nested {
    string s = 1;
  }
  .M.Nested nested = 1;
}
`);
    // The highest number of a message set is another one.
    const text = printFile(hardFile("groups_and_extensions.proto"));
    expect(text.match(/extensions .* to max/g)).toEqual(["extensions 4 to max", "extensions 1000 to max"]);
  });
});

describe("quote()", () => {
  test("escapes what a literal cannot have, and nothing that could run into what follows", () => {
    expect(quote('é "x" \\ \n\r\t\0' + "1\x7f")).toBe(String.raw`"é \"x\" \\ \n\r\t\0001\177"`);
  });
});
