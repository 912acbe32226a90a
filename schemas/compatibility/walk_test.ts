import { createFileRegistry, type DescFile, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { compare } from "./mod.ts";
import { inShort } from "./testing.ts";

type Json = Parameters<typeof fromJson>[1];
type Field = { name: string; number: number; type: string; typeName?: string; label: string };

const field = (number: number, type: string, typeName?: string): Field => ({
  name: `f${number}`,
  number,
  label: "LABEL_OPTIONAL",
  type: `TYPE_${type}`,
  ...(typeName !== undefined && { typeName }),
});

/** The last of some files; compiling them from text would take longer than comparing them. */
function fileOf(...files: { [key: string]: Json }[]): DescFile {
  const file = files.map((it, index) => ({ name: `${index}.proto`, syntax: "proto3", ...it }));
  const registry = createFileRegistry(fromJson(FileDescriptorSetSchema, { file }));
  return registry.getFile(`${files.length - 1}.proto`) as DescFile;
}

/** Decoders of descriptors take no more than 100 levels, some of which are not messages. */
const DEPTH = 90;

const range = (length: number) => Array.from({ length }, (_, index) => index);

// Without a memory of what is compared, the first of these would not end in the time that a test has.
test("compare() comes to an end with 200 messages that all contain each other", () => {
  const make = (type: string) =>
    fileOf({
      package: "a",
      messageType: range(200).map((n) => ({
        name: `M${n}`,
        field: [...range(200).map((to) => field(to + 1, "MESSAGE", `.a.M${to}`)), field(201, type)],
      })),
    });
  const [before, after] = [make("INT32"), make("STRING")];
  expect(compare(before, after)).toHaveLength(200);
});

test("compare() comes to an end with 1,000 fields that all change", () => {
  const make = (type: string) =>
    fileOf({ messageType: [{ name: "M", field: range(1_000).map((n) => field(n + 1, type)) }] });
  const [before, after] = [make("INT32"), make("STRING")];
  expect(compare(before, after)).toHaveLength(1_000);
});

test("compare() comes to an end with messages nested in each other, and with a chain of 10,000 that contain the next", () => {
  const nested = (depth: number, type: string): { [key: string]: Json } =>
    depth === 0
      ? { name: "M", field: [field(1, type)] }
      : { name: "M", field: [field(1, "INT32")], nestedType: [nested(depth - 1, type)] };
  const deep = (type: string) => fileOf({ package: "a", messageType: [nested(DEPTH, type)] });
  expect(compare(deep("INT32"), deep("BOOL")).map(({ path }) => path.split(".").length)).toEqual([DEPTH + 1]);

  const chain = (type: string) => {
    const messageType = range(10_000).map((n) => ({
      name: `M${n}`,
      field: [n === 9_999 ? field(1, type) : field(1, "MESSAGE", `.a.M${n + 1}`)],
    }));
    const root = { name: "Root", field: [field(1, "MESSAGE", ".a.M0")] };
    return fileOf(
      { package: "a", messageType },
      { package: "b", messageType: [root], dependency: ["0.proto"] },
    );
  };
  const [before, after] = [chain("INT32"), chain("STRING")];
  expect(inShort(compare(before, after))).toEqual(["!FIELD_SCALAR_KIND_CHANGED #/Root/1/a.M9999/1"]);
});

test("compare() refuses schemas that are made to have types compared without end", () => {
  // Every M of one side is read as every M of the other, since names are relative to packages.
  const make = (next: number, same: number) => {
    const size = 600;
    const files = range(size).map((n) => ({
      package: `p${n}`,
      dependency: n === 0 ? [] : [`${n - 1}.proto`],
      messageType: [
        {
          name: "M",
          field: [field(next, "MESSAGE", `.p${Math.max(0, n - 1)}.M`), field(same, "MESSAGE", `.p${n}.M`)],
        },
      ],
    }));
    return fileOf(...files);
  };
  const [before, after] = [make(1, 2), make(2, 1)];
  expect(inShort(compare(before, after)).filter((line) => line.startsWith("!"))).toEqual([
    "!SCHEMA_TOO_LARGE #/",
  ]);
});

test("compare() takes a well-known type for the same in every release of a compiler", () => {
  const make = (path: string, type: string) => {
    const timestamp = { name: "Timestamp", field: [field(1, type)] };
    const root = { name: "A", field: [field(1, "MESSAGE", ".google.protobuf.Timestamp")] };
    return fileOf(
      { name: path, package: "google.protobuf", messageType: [timestamp] },
      { messageType: [root], dependency: [path] },
    );
  };
  const found = (path: string) => inShort(compare(make(path, "INT64"), make(path, "STRING")));
  expect(found("google/protobuf/timestamp.proto")).toEqual([]);
  expect(found("google/protobuf/mine.proto")).toEqual([
    "!FIELD_SCALAR_KIND_CHANGED #/A/1/google.protobuf.Timestamp/1",
  ]);
});
