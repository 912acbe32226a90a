import type { DescFile } from "@bufbuild/protobuf";
import { beforeAll, expect, describe as suite, test } from "vitest";
import { check, describe, type Mode, modes, type Version } from "./mod.ts";
import { compileAll, inShort } from "./testing.ts";

/** Three versions each, and a candidate. */
const histories = {
  // The candidate reads what version 3 wrote, but not what versions 1 and 2 did.
  retyped: ["string x = 1;", "string x = 1;", "", "int32 x = 1;"],
  // Readers of version 3 read the candidate's data, those of version 1 do not.
  required: [
    `syntax = "proto2"; package $; message A { required string x = 1; }`,
    `syntax = "proto2"; package $; message A { optional string x = 1; }`,
    `syntax = "proto2"; package $; message A { optional string x = 1; }`,
    `syntax = "proto2"; package $; message A { optional string x = 1; optional string y = 2; }`,
  ],
  // Nobody is ever broken.
  grown: [
    "string x = 1;",
    "string x = 1; int32 y = 2;",
    "string x = 1; int64 y = 2;",
    "bytes x = 1; int64 z = 2;",
  ],
  // FULL takes no message more, nor any less.
  second: ["", "", "", `syntax = "proto3"; package $; message A {} message B {}`],
  reused: ["string coupon = 5;", "", "", "string gift = 5;"],
  reusedName: ["string coupon = 5;", "", "", "string coupon = 9;"],
  reusedAtOnce: ["", "", "string coupon = 5;", "string coupon = 9;"],
  reusedReserved: [
    "string coupon = 5;",
    'reserved 5; reserved "coupon";',
    "",
    "string coupon = 6; int32 gift = 5;",
  ],
  returned: ["string coupon = 5;", "", "", "string coupon = 5;"],
  renamed: ["string coupon = 5;", "string coupon = 5;", "string coupon = 5;", "string gift = 5;"],
  swapped: [
    "string a = 1; string b = 2;",
    "string a = 1; string b = 2;",
    "string a = 1; string b = 2;",
    "string b = 1; string a = 2;",
  ],
  reusedBefore: ["string coupon = 5;", "", "string gift = 5;", "string gift = 5; int32 more = 6;"],
  removed: ["string coupon = 5;", "string coupon = 5;", "string coupon = 5;", ""],
  messageGone: [
    `syntax = "proto3"; package $; message A { message B { int32 x = 1; } }`,
    "",
    "",
    `syntax = "proto3"; package $; message A { message B { int32 y = 1; } }`,
  ],
} satisfies Record<string, readonly [string, string, string, string]>;
type Name = keyof typeof histories;

const compiled = new Map<string, { versions: Version[]; candidate: DescFile }>();
beforeAll(async () => {
  const texts = Object.values(histories).map((history) =>
    history.map((text) => (text.startsWith("syntax") ? text : `message A { ${text} }`)),
  );
  const files = await compileAll(texts);
  for (const [index, name] of Object.keys(histories).entries()) {
    const all = files[index] as DescFile[];
    const candidate = all.pop() as DescFile;
    compiled.set(name, { versions: all.map((file, at) => ({ version: 10 * (at + 1), file })), candidate });
  }
});

/** `backward 10: …`, a line for each. */
function checked(mode: Mode, name: Name, options?: Parameters<typeof check>[3]): string[] {
  const { versions, candidate } = compiled.get(name) as NonNullable<ReturnType<typeof compiled.get>>;
  return check(mode, candidate, versions, options).map(
    ({ version, direction, differences }) => `${direction} ${version}: ${inShort(differences).join(", ")}`,
  );
}

function verdicts(name: Name): Partial<Record<Mode, boolean>> {
  return Object.fromEntries(modes.map((mode) => [mode, checked(mode, name).length === 0]));
}

suite("check()", () => {
  test("looks at the latest version, and at all of them where the mode is transitive", () => {
    expect(verdicts("retyped")).toEqual({
      NONE: true,
      BACKWARD: true,
      BACKWARD_TRANSITIVE: false,
      FORWARD: true,
      FORWARD_TRANSITIVE: false,
      FULL: true,
      FULL_TRANSITIVE: false,
    });
    expect(checked("BACKWARD_TRANSITIVE", "retyped")).toEqual([
      "backward 20: !FIELD_SCALAR_KIND_CHANGED #/A/1",
      "backward 10: !FIELD_SCALAR_KIND_CHANGED #/A/1",
    ]);
    expect(checked("FULL_TRANSITIVE", "required")).toEqual([
      "backward 10: !REQUIRED_FIELD_REMOVED #/A/1",
      "forward 10: !REQUIRED_FIELD_ADDED #/A/1",
    ]);
    for (const mode of modes) expect(checked(mode, "grown")).toEqual([]);
  });

  test("lets a message be added for new readers, not for old ones", () => {
    expect(checked("BACKWARD_TRANSITIVE", "second")).toEqual([]);
    expect(checked("FULL", "second")).toEqual(["forward 30: !MESSAGE_REMOVED #/B"]);
    expect(checked("FORWARD_TRANSITIVE", "second")).toHaveLength(3);
  });

  test("lets anything be the first version", () => {
    const { candidate } = compiled.get("grown") as NonNullable<ReturnType<typeof compiled.get>>;
    for (const mode of modes) expect(check(mode, candidate, [])).toEqual([]);
  });
});

suite("check() with unreservedReuse", () => {
  const options = { unreservedReuse: true };

  test("is not the default", () => {
    for (const name of ["reused", "reusedName", "reusedAtOnce", "swapped"] as const)
      for (const mode of modes) expect(checked(mode, name)).toEqual([]);
    expect(checked("BACKWARD_TRANSITIVE", "messageGone")).toEqual([]);
  });

  test("refuses the number of a field that was removed, in modes that are not transitive too", () => {
    const [backward, forward] = ["backward", "forward"].map((it) => `${it} 10: !FIELD_NUMBER_REUSED #/A/5`);
    expect(checked("NONE", "reused", options)).toEqual([]);
    expect(checked("BACKWARD", "reused", options)).toEqual([backward]);
    expect(checked("FORWARD_TRANSITIVE", "reused", options)).toEqual([forward]);
    expect(checked("FULL", "reused", options)).toEqual([backward, forward]);
  });

  test("refuses the name of a field that was removed, however long ago", () => {
    expect(checked("BACKWARD", "reusedName", options)).toEqual(["backward 10: !FIELD_NAME_REUSED #/A/9"]);
    expect(checked("BACKWARD", "reusedAtOnce", options)).toEqual(["backward 30: !FIELD_NAME_REUSED #/A/9"]);
    expect(checked("BACKWARD", "swapped", options)).toEqual([
      "backward 30: !FIELD_NAME_REUSED #/A/1, !FIELD_NAME_REUSED #/A/2",
    ]);
  });

  test("refuses what was reserved once and is no longer", () => {
    expect(checked("BACKWARD", "reusedReserved", options)).toEqual([
      "backward 10: !FIELD_NAME_REUSED #/A/6, !FIELD_NUMBER_REUSED #/A/5",
    ]);
  });

  test("refuses it in a message that was gone in between", () => {
    expect(checked("BACKWARD", "messageGone", options)).toEqual([
      "backward 10: !FIELD_NUMBER_REUSED #/A.B/1",
    ]);
  });

  test.each(["returned", "renamed", "reusedBefore", "removed", "grown"] as const)("lets %s pass", (name) => {
    for (const mode of modes) expect(checked(mode, name, options)).toEqual([]);
  });
});

suite("describe()", () => {
  test("is a line with every difference, from what is written to what reads it", () => {
    const { versions, candidate } = compiled.get("retyped") as NonNullable<ReturnType<typeof compiled.get>>;
    const [first] = versions as [Version];
    const lines = check("FULL", candidate, [first]).map((it) => describe(it));
    expect(lines).toEqual([
      "The new schema cannot read data of version 10: FIELD_SCALAR_KIND_CHANGED at #/A/1 (string x = 1 → int32 x = 1)",
      "Version 10 cannot read data of the new schema: FIELD_SCALAR_KIND_CHANGED at #/A/1 (int32 x = 1 → string x = 1)",
    ]);
    const { versions: two, candidate: three } = compiled.get("second") as NonNullable<
      ReturnType<typeof compiled.get>
    >;
    expect(check("FORWARD", three, two).map((it) => describe(it))).toEqual([
      "Version 30 cannot read data of the new schema: MESSAGE_REMOVED at #/B (message B → nothing)",
    ]);
  });

  test("has no sides for what has none", () => {
    const differences = [
      { type: "SCHEMA_TOO_LARGE", path: "#/", old: undefined, new: undefined, compatible: false } as const,
    ];
    expect(describe({ version: 1, direction: "backward", differences })).toBe(
      "The new schema cannot read data of version 1: SCHEMA_TOO_LARGE at #/",
    );
  });
});
