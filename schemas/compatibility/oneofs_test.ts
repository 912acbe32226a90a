import { createFileRegistry, type DescMessage, fromBinary, fromJson, toBinary } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { compare } from "./mod.ts";
import { inShort, testEdits } from "./testing.ts";

const message = (fields: string) => `message A { ${fields} }`;

testEdits("compare() of oneofs", [
  // Oneofs
  [
    "oneof added",
    message(""),
    message("oneof o { int32 x = 1; string y = 2; }"),
    ["FIELD_ADDED #/A/1", "FIELD_ADDED #/A/2", "ONEOF_ADDED #/A/o"],
    ["FIELD_REMOVED #/A/1", "FIELD_REMOVED #/A/2", "ONEOF_REMOVED #/A/o"],
  ],
  [
    "member added to a oneof",
    message("oneof o { int32 x = 1; }"),
    message("oneof o { int32 x = 1; int32 y = 2; }"),
    ["ONEOF_FIELD_ADDED #/A/2"],
    ["!ONEOF_FIELD_REMOVED #/A/2"],
  ],
  [
    "member changed within its group",
    message("oneof o { int32 x = 1; }"),
    message("oneof o { int64 z = 1; }"),
    ["FIELD_RENAMED #/A/1", "FIELD_SCALAR_TYPE_CHANGED #/A/1"],
    ["FIELD_RENAMED #/A/1", "FIELD_SCALAR_TYPE_CHANGED #/A/1"],
  ],
  [
    "single field moved into a new oneof",
    message("int32 x = 1;"),
    message("oneof o { int32 x = 1; }"),
    ["FIELD_MOVED_TO_NEW_ONEOF #/A/1", "ONEOF_ADDED #/A/o"],
    ["ONEOF_REMOVED #/A/o"],
  ],
  [
    "single field moved into a new oneof with fields that are new",
    message("int32 x = 1;"),
    message("oneof o { int32 x = 1; int32 y = 2; int32 z = 3; }"),
    ["FIELD_ADDED #/A/2", "FIELD_ADDED #/A/3", "FIELD_MOVED_TO_NEW_ONEOF #/A/1", "ONEOF_ADDED #/A/o"],
    ["FIELD_REMOVED #/A/2", "FIELD_REMOVED #/A/3", "ONEOF_REMOVED #/A/o"],
  ],
  [
    "single optional field moved into a new oneof",
    message("optional int32 x = 1;"),
    message("oneof o { int32 x = 1; }"),
    ["FIELD_MOVED_TO_NEW_ONEOF #/A/1", "ONEOF_ADDED #/A/o"],
    ["ONEOF_REMOVED #/A/o"],
  ],
  [
    "two fields moved into two new oneofs",
    message("int32 x = 1; int32 y = 2;"),
    message("oneof o { int32 x = 1; } oneof p { int32 y = 2; }"),
    [
      "FIELD_MOVED_TO_NEW_ONEOF #/A/1",
      "FIELD_MOVED_TO_NEW_ONEOF #/A/2",
      "ONEOF_ADDED #/A/o",
      "ONEOF_ADDED #/A/p",
    ],
    ["ONEOF_REMOVED #/A/o", "ONEOF_REMOVED #/A/p"],
  ],
  [
    "several fields moved into a new oneof",
    message("int32 x = 1; optional int32 y = 2; int32 z = 3;"),
    message("oneof o { int32 x = 1; int32 y = 2; int32 n = 4; } int32 z = 3;"),
    ["!MULTIPLE_FIELDS_MOVED_TO_ONEOF #/A/o", "FIELD_ADDED #/A/4", "ONEOF_ADDED #/A/o"],
    ["FIELD_REMOVED #/A/4", "ONEOF_REMOVED #/A/o"],
  ],
  [
    "field moved into a oneof that existed",
    message("oneof o { int32 x = 1; } int32 y = 2;"),
    message("oneof o { int32 x = 1; int32 y = 2; }"),
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2"],
    ["!ONEOF_FIELD_REMOVED #/A/2"],
  ],
  [
    "several fields moved into a oneof that existed",
    message("oneof o { int32 x = 1; } int32 y = 2; int32 z = 3;"),
    message("oneof o { int32 x = 1; int32 y = 2; int32 z = 3; }"),
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2", "!FIELD_MOVED_TO_EXISTING_ONEOF #/A/3"],
    ["!ONEOF_FIELD_REMOVED #/A/2", "!ONEOF_FIELD_REMOVED #/A/3"],
  ],
  [
    "oneof renamed",
    message("oneof o { int32 x = 1; int32 y = 2; }"),
    message("oneof p { int32 x = 1; int32 y = 2; }"),
    ["ONEOF_RENAMED #/A/o"],
    ["ONEOF_RENAMED #/A/p"],
  ],
  [
    "oneof renamed, with a new member",
    message("oneof o { int32 x = 1; int32 y = 2; }"),
    message("oneof p { int32 x = 1; int32 y = 2; int32 z = 3; }"),
    ["ONEOF_FIELD_ADDED #/A/3", "ONEOF_RENAMED #/A/o"],
    ["!ONEOF_FIELD_REMOVED #/A/3", "ONEOF_RENAMED #/A/p"],
  ],
  [
    "oneof renamed, and a field that was alone moved into it",
    message("oneof o { int32 x = 1; } int32 y = 2;"),
    message("oneof p { int32 x = 1; int32 y = 2; }"),
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2", "ONEOF_RENAMED #/A/o"],
    ["!ONEOF_FIELD_REMOVED #/A/2", "ONEOF_RENAMED #/A/p"],
  ],
  [
    "oneof renamed by most of its members, the others in another",
    message("oneof o { int32 x = 1; int32 y = 2; int32 z = 3; }"),
    message("oneof p { int32 x = 1; } oneof q { int32 y = 2; int32 z = 3; }"),
    [
      "!ONEOF_FIELD_REMOVED #/A/1",
      "FIELD_MOVED_TO_NEW_ONEOF #/A/1",
      "ONEOF_ADDED #/A/p",
      "ONEOF_RENAMED #/A/o",
    ],
    [
      "!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2",
      "!FIELD_MOVED_TO_EXISTING_ONEOF #/A/3",
      "ONEOF_RENAMED #/A/p",
      "ONEOF_REMOVED #/A/q",
    ].sort(),
  ],
  [
    "oneof renamed by most of its members, several others in another",
    message("oneof o { int32 a = 1; int32 b = 2; int32 c = 3; int32 d = 4; int32 e = 5; }"),
    message("oneof p { int32 a = 1; int32 b = 2; } oneof q { int32 c = 3; int32 d = 4; int32 e = 5; }"),
    [
      "!ONEOF_FIELD_REMOVED #/A/1",
      "!ONEOF_FIELD_REMOVED #/A/2",
      "FIELD_MOVED_TO_NEW_ONEOF #/A/1",
      "FIELD_MOVED_TO_NEW_ONEOF #/A/2",
      "ONEOF_ADDED #/A/p",
      "ONEOF_RENAMED #/A/o",
    ],
    [
      "!FIELD_MOVED_TO_EXISTING_ONEOF #/A/3",
      "!FIELD_MOVED_TO_EXISTING_ONEOF #/A/4",
      "!FIELD_MOVED_TO_EXISTING_ONEOF #/A/5",
      "ONEOF_RENAMED #/A/p",
      "ONEOF_REMOVED #/A/q",
    ],
  ],
  [
    "oneof dissolved, its members stay",
    message("oneof o { int32 x = 1; int32 y = 2; }"),
    message("optional int32 x = 1; int32 y = 2;"),
    ["ONEOF_REMOVED #/A/o"],
    ["!MULTIPLE_FIELDS_MOVED_TO_ONEOF #/A/o", "ONEOF_ADDED #/A/o"],
  ],
  [
    "member leaves a oneof that stays and stays itself",
    message("oneof o { int32 x = 1; int32 y = 2; }"),
    message("oneof o { int32 x = 1; } int32 y = 2;"),
    ["!ONEOF_FIELD_REMOVED #/A/2"],
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2"],
  ],
  [
    "member moved from one oneof to another",
    message("oneof o { int32 x = 1; int32 y = 2; } oneof p { int32 z = 3; }"),
    message("oneof o { int32 x = 1; } oneof p { int32 z = 3; int32 y = 2; }"),
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2", "!ONEOF_FIELD_REMOVED #/A/2"],
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2", "!ONEOF_FIELD_REMOVED #/A/2"],
  ],
  [
    "oneofs merged into one of a new name",
    message("oneof o { int32 x = 1; } oneof p { int32 y = 2; }"),
    message("oneof q { int32 x = 1; int32 y = 2; }"),
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2", "ONEOF_REMOVED #/A/p", "ONEOF_RENAMED #/A/o"],
    [
      "!ONEOF_FIELD_REMOVED #/A/2",
      "FIELD_MOVED_TO_NEW_ONEOF #/A/2",
      "ONEOF_ADDED #/A/p",
      "ONEOF_RENAMED #/A/q",
    ],
  ],
  [
    "oneof of the same name with other members, which were there",
    message("oneof o { int32 x = 1; } int32 y = 2;"),
    message("oneof o { int32 y = 2; } int32 x = 1;"),
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/2", "!ONEOF_FIELD_REMOVED #/A/1"],
    ["!FIELD_MOVED_TO_EXISTING_ONEOF #/A/1", "!ONEOF_FIELD_REMOVED #/A/2"],
  ],
]);

describe("whatever three fields were in, alone, in one of two oneofs or not at all, and are in now", () => {
  const places = ["absent", "alone", "o", "p"] as const;
  const layouts = places.flatMap((a) => places.flatMap((b) => places.map((c) => [a, b, c])));
  const messages = layouts.map(messageOf);

  /** Every set of fields that can be written: of a oneof no more than one. */
  const writable = (layout: readonly string[]) =>
    [0, 1, 2, 3, 4, 5, 6, 7]
      .map((bits) => [0, 1, 2].filter((field) => bits & (1 << field)))
      .filter((set) => set.every((field) => layout[field] !== "absent"))
      .filter((set) =>
        ["o", "p"].every((oneof) => set.filter((field) => layout[field] === oneof).length <= 1),
      );

  const loses = (from: number, to: number) => {
    const [before, after] = [messages[from], messages[to]] as [DescMessage, DescMessage];
    return writable(layouts[from] ?? []).some((set) => {
      const written = reflect(before);
      for (const field of before.fields) if (set.includes(field.number - 1)) written.set(field, "x");
      const read = reflect(after, fromBinary(after, toBinary(before, written.message)));
      return after.fields.some((field) => set.includes(field.number - 1) && !read.isSet(field));
    });
  };

  /** A oneof of both sides that has a member no more: a reader finds none of it set. */
  const shrinks = (from: number, to: number) =>
    ["o", "p"].some((oneof) => {
      const [old, now] = [layouts[from], layouts[to]] as [string[], string[]];
      return now.includes(oneof) && old.some((place, field) => place === oneof && now[field] !== oneof);
    });

  test("compare() refuses what would lose a field, and a oneof that shrinks or takes the name of another", () => {
    const wrong: string[] = [];
    for (const from of layouts.keys()) {
      for (const to of layouts.keys()) {
        const [before, after] = [messages[from], messages[to]] as [DescMessage, DescMessage];
        const found = inShort(compare(before.file, after.file)).filter((line) => line.startsWith("!"));
        const must = loses(from, to) || shrinks(from, to);
        if (must && found.length === 0) wrong.push(`${layouts[from]} → ${layouts[to]} passes`);
        // A oneof that is renamed is the same one.
        const renamed = layouts.indexOf(
          layouts.find((it) => `${it}` === `${layouts[to]?.map(otherName)}`) ?? [],
        );
        if (!must && !shrinks(from, renamed) && found.length > 0) {
          wrong.push(`${layouts[from]} → ${layouts[to]}: ${found}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

function otherName(place: string): string {
  return { o: "p", p: "o" }[place] ?? place;
}

function messageOf(layout: readonly string[]): DescMessage {
  const oneofs = ["o", "p"].filter((oneof) => layout.includes(oneof));
  const field = layout.flatMap((place, index) => {
    const oneofIndex = oneofs.indexOf(place);
    const own = { name: `f${index}`, number: index + 1, type: "TYPE_STRING", label: "LABEL_OPTIONAL" };
    return place === "absent" ? [] : [{ ...own, ...(oneofIndex >= 0 && { oneofIndex }) }];
  });
  const message = { name: "A", field, oneofDecl: oneofs.map((name) => ({ name })) };
  const file = { name: "a.proto", syntax: "proto3", messageType: [message] };
  const registry = createFileRegistry(fromJson(FileDescriptorSetSchema, { file: [file] }));
  return registry.getMessage("A") as DescMessage;
}
