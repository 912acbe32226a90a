import { describe, expect, it } from "vitest";
import { causeLines, readCause } from "./cause.ts";
import { HeaderLines, HeaderText } from "./headers.ts";

const read = (lines: string) => readCause(new HeaderText(new HeaderLines(lines).encode()));

describe("causeLines()", () => {
  it("says nothing of the first delivery", () => {
    expect(causeLines({ stream: "CHECKOUT", seq: 42, attempt: 1 })).toBe("ce-cause: CHECKOUT/42\r\n");
  });

  it("says which delivery it was, if not the first", () => {
    const lines = causeLines({ stream: "CHECKOUT", seq: 42, attempt: 3 });
    expect(lines).toBe("ce-cause: CHECKOUT/42\r\nce-deliverycount: 3\r\n");
  });
});

describe("readCause()", () => {
  it.each([1, 3])("is the other way round, at delivery %i", (attempt) => {
    const cause = { stream: "CHECKOUT", seq: 42, attempt };
    expect(read(causeLines(cause))).toEqual(cause);
  });

  it.each(["", "CHECKOUT", "CHECKOUT/0", "CHECKOUT/x", "a b/1", "CHECKOUT/1/2", "/7"])(
    "takes %j for none",
    (value) => {
      expect(read(`ce-cause: ${value}\r\n`)).toBeUndefined();
      expect(read("")).toBeUndefined();
    },
  );

  it.each(["0", "-1", "many"])("takes %j for the first delivery", (count) => {
    expect(read(`ce-cause: A/1\r\nce-deliverycount: ${count}\r\n`)).toMatchObject({ attempt: 1 });
  });
});
