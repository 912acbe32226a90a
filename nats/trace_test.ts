import { describe, expect, it } from "vitest";
import { isSampled, newTrace, traceFrom, traceId } from "./trace.ts";

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

describe("traceFrom()", () => {
  it("takes a context as it came", () => {
    expect(traceFrom(traceparent, "a=1")).toEqual({ traceparent, tracestate: "a=1" });
    expect(traceFrom(traceparent, undefined)).toEqual({ traceparent });
    expect(traceFrom(traceparent, "")).toEqual({ traceparent });
  });

  const malformed = [
    undefined,
    "",
    "nonsense",
    traceparent.toUpperCase(),
    `${traceparent}-00`,
    traceparent.replace("00-", "01-"),
    `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
    `00-0af7651916cd43dd8448eb211c80319c-${"0".repeat(16)}-01`,
  ];
  for (const value of malformed) {
    it(`begins a new trace in place of ${JSON.stringify(value)}, without its state`, () => {
      const trace = traceFrom(value, "a=1");
      expect(trace.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      expect(trace.traceparent).not.toBe(value);
      expect(trace.tracestate).toBeUndefined();
    });
  }
});

describe("isSampled()", () => {
  it.each([
    ["00", false],
    ["01", true],
    ["02", false],
    ["03", true],
    ["0a", false],
    ["0b", true],
    ["fe", false],
    ["ff", true],
  ])("reads the flags %s as %s", (flags, sampled) => {
    expect(isSampled({ traceparent: `${traceparent.slice(0, 53)}${flags}` })).toBe(sampled);
  });

  it("says of a new trace that nobody records it", () => {
    expect(isSampled(newTrace())).toBe(false);
  });
});

describe("newTrace()", () => {
  it("is another one each time", () => {
    expect(traceId(newTrace())).toMatch(/^[0-9a-f]{32}$/);
    expect(traceId(newTrace())).not.toBe(traceId(newTrace()));
  });
});
