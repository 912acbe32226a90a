import { describe, expect, it } from "vitest";
import { z } from "zod";
import { Problem } from "./problem.ts";
import { fromCursor, paging, readOrderId, readQuery, toCursor } from "./request.ts";

const unknown = (id: string) => new Problem(404, "unknown-order", { title: "Unknown order", detail: id });

function problemOf(work: () => unknown): Problem {
  try {
    work();
  } catch (cause) {
    if (cause instanceof Problem) return cause;
    throw cause;
  }
  throw new Error("It was accepted");
}

describe("readOrderId()", () => {
  it.each(["ord_01", "o-1", "x".repeat(64)])("takes %j", (text) => {
    expect(readOrderId(text, unknown)).toBe(text);
  });

  it.each(["", "a.b", "*", ">", "a b", "ä", "x".repeat(65), undefined])(
    "answers %j like an unknown order",
    (text) => {
      expect(problemOf(() => readOrderId(text, unknown)).status).toBe(404);
    },
  );

  it("does not hand on a text without end", () => {
    expect(problemOf(() => readOrderId("x".repeat(9_000), unknown)).message).toHaveLength(64);
  });
});

describe("readQuery()", () => {
  const shape = { state: z.enum(["open", "shut"]).optional(), ...paging({ limit: 20, max: 100 }) };

  it("fills in what was left out", () => {
    expect(readQuery({}, shape)).toEqual({ limit: 20, cursor: 1 });
  });

  it("reads numbers and cursors", () => {
    expect(readQuery({ state: "open", limit: "100", cursor: toCursor(7) }, shape)).toEqual({
      state: "open",
      limit: 100,
      cursor: 7,
    });
  });

  it("names every fault at once, by its place", () => {
    const problem = problemOf(() =>
      readQuery({ state: "ajar", limit: "0", cursor: "7", "a/b": "1", c: "" }, shape),
    );
    expect(problem).toMatchObject({ status: 400, type: "urn:problem:shop:invalid-query" });
    const { errors } = problem.extra as { errors: { pointer: string; detail: string }[] };
    expect(errors.map(({ pointer }) => pointer)).toEqual(["/state", "/limit", "/cursor", "/a~1b", "/c"]);
    expect(errors.find(({ pointer }) => pointer === "/limit")?.detail).toBe("Must be a number from 1 to 100");
    for (const { pointer, detail } of errors) expect(problem.message).toContain(`${pointer}: ${detail}`);
  });

  it.each(["", "0", "-1", "1.5", "1e2", " 1", "101", "9".repeat(30)])("takes no limit of %j", (limit) => {
    expect(problemOf(() => readQuery({ limit }, shape)).status).toBe(400);
  });
});

describe("fromCursor()", () => {
  it.each([1, 42, 999_999_999_999_999])("reads what toCursor() made of %d", (seq) => {
    expect(fromCursor(toCursor(seq))).toBe(seq);
  });

  it.each(["", "x", "1", "MQ==", toCursor(0), toCursor(-1), toCursor(1.5), `${toCursor(5)}!`])(
    "takes no %j",
    (text) => {
      expect(fromCursor(text)).toBeUndefined();
    },
  );
});
