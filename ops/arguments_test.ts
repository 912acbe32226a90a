import { describe, expect, it } from "vitest";
import { replayFrom, time } from "./arguments.ts";

describe("time()", () => {
  it.each([
    ["2026-01-31T08:00:00Z", "2026-01-31T08:00:00.000Z"],
    ["2026-01-31 08:00:00.5+01:00", "2026-01-31T07:00:00.500Z"],
    ["2026-01-31", "2026-01-31T00:00:00.000Z"],
  ])("reads %s", (text, iso) => {
    expect(time(text).toISOString()).toBe(iso);
  });

  it.each(["", "5", "soon", "2026-01-31T08:00:00", "2026-13-31", "2026-02-31", "31 Jan 2026"])(
    "refuses %j",
    (text) => {
      expect(() => time(text)).toThrow("no time such as 2026-01-31T08:00:00Z");
    },
  );
});

describe("replayFrom()", () => {
  it("reads the start, a sequence and a time", () => {
    expect(replayFrom("start")).toEqual({ kind: "start" });
    expect(replayFrom("42")).toEqual({ kind: "sequence", seq: 42 });
    expect(replayFrom("2026-01-31")).toEqual({ kind: "time", time: new Date("2026-01-31T00:00:00Z") });
  });

  it.each(["0", "-1", "1.5", "1_000", "9007199254740993"])("refuses the sequence %s", (text) => {
    expect(() => replayFrom(text)).toThrow("a positive whole number");
  });
});
