import { create, type DescFile, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { beforeAll, expect, test } from "vitest";
import { compare } from "./mod.ts";
import { compileAll } from "./testing.ts";

const groups = [
  ["int32", "int64", "uint32", "uint64", "bool", "E"],
  ["sint32", "sint64"],
  ["string", "bytes"],
  ["fixed32", "sfixed32"],
  ["fixed64", "sfixed64"],
  ["float"],
  ["double"],
];
const types = groups.flat();
const keys = types.filter((type) => !["bytes", "float", "double", "E"].includes(type));
const groupOf = (type: string) => groups.findIndex((group) => group.includes(type));

/** Every type to every type: field n is a pair. */
const pairs = types.flatMap((from) => types.map((to) => ({ from, to })));
const keyPairs = keys.flatMap((from) => keys.map((to) => ({ from, to })));

const text = (side: "from" | "to") => `
  enum E { Z = 0; O = 1; }
  message Single { ${pairs.map((pair, n) => `${pair[side]} f${n + 1} = ${n + 1};`).join("\n")} }
  message List { ${pairs.map((pair, n) => `repeated ${pair[side]} f${n + 1} = ${n + 1};`).join("\n")} }
  message Value { ${pairs.map((pair, n) => `map<int32, ${pair[side]}> f${n + 1} = ${n + 1};`).join("\n")} }
  message Key { ${keyPairs.map((pair, n) => `map<${pair[side]}, int32> f${n + 1} = ${n + 1};`).join("\n")} }`;

let before: DescFile;
let after: DescFile;
beforeAll(async () => {
  [[before, after]] = (await compileAll([[text("from"), text("to")]])) as [[DescFile, DescFile]];
});

const toLines = (list: typeof pairs, place: (n: number) => string) =>
  list.flatMap(({ from, to }, n) => {
    if (from === to) return [];
    const isSame = groupOf(from) === groupOf(to);
    return [
      `${isSame ? "FIELD_SCALAR_TYPE_CHANGED" : "FIELD_SCALAR_KIND_CHANGED"} ${place(n + 1)} ${isSame}`,
    ];
  });

test("compare() lets a scalar be read as another of its group, and as no other", () => {
  const expected = [
    ...toLines(pairs, (n) => `#/Single/${n}`),
    ...toLines(pairs, (n) => `#/List/${n}`),
    ...toLines(pairs, (n) => `#/Value/${n}/value`),
    ...toLines(keyPairs, (n) => `#/Key/${n}/key`),
  ];
  const found = compare(before, after).map(({ type, path, compatible }) => `${type} ${path} ${compatible}`);
  expect(found).toEqual(expected);
  expect(found.length).toBe(3 * (256 - 16) + (12 * 12 - 12));
});

test("compare() lets bytes not become a string where that is asked for, but a string bytes", () => {
  const broken = (options?: { bytesToString: boolean }) =>
    compare(before, after, options).filter(({ compatible }) => !compatible);
  const additional = broken({ bytesToString: true }).length - broken().length;
  expect(additional).toBe(3);
  const paths = broken({ bytesToString: true }).map(({ path, old, new: now }) => `${path} ${old} → ${now}`);
  const n = pairs.findIndex(({ from, to }) => from === "bytes" && to === "string") + 1;
  const back = pairs.findIndex(({ from, to }) => from === "string" && to === "bytes") + 1;
  expect(paths).toContain(`#/Single/${n} bytes f${n} = ${n} → string f${n} = ${n}`);
  expect(paths).toContain(
    `#/Value/${n}/value map<int32, bytes> f${n} = ${n} → map<int32, string> f${n} = ${n}`,
  );
  expect(paths.some((path) => path.startsWith(`#/Single/${back} `))).toBe(false);
});

test("what compare() lets pass can be read: every scalar as every other of its group", () => {
  const isFine = new Set(pairs.flatMap(({ from, to }, n) => (groupOf(from) === groupOf(to) ? [n + 1] : [])));
  for (const name of ["Single", "List"]) {
    const from = named(before, name);
    const to = named(after, name);
    const written = reflect(from, create(from));
    for (const field of from.fields.filter(({ number }) => isFine.has(number))) {
      const value = field.enum ? 1 : sampleOf(pairs[field.number - 1]?.from ?? "");
      if (field.fieldKind === "list") {
        for (const item of [value, value]) written.get(field).add(item);
      } else written.set(field, value as never);
    }
    const read = reflect(to, fromBinary(to, toBinary(from, written.message)));
    expect(read.getUnknown() ?? []).toEqual([]);
    for (const field of to.fields) {
      const isRead = read.isSet(field);
      expect([name, field.number, isRead]).toEqual([name, field.number, isFine.has(field.number)]);
    }
  }
});

const named = (file: DescFile, name: string): DescMessage => {
  const found = file.messages.find((message) => message.name === name);
  if (found === undefined) throw new Error(`Cannot find ${name}`);
  return found;
};

function sampleOf(type: string): unknown {
  if (type === "bool") return true;
  if (type === "string") return "ünï";
  if (type === "bytes") return new TextEncoder().encode("ünï");
  return type.endsWith("64") ? 77n : 77;
}
