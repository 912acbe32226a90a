import { describe, expect, it } from "vitest";
import { checkOf } from "./openapi.ts";

const Thing = {
  type: "object",
  properties: { id: { type: "string" }, at: { type: "string", format: "date-time" } },
  required: ["id"],
};
const json = (schema: object) => ({ content: { "application/json": { schema } } });
const check = checkOf({
  paths: {
    "/things/{thing}": {
      get: {
        responses: {
          200: json({ $ref: "#/components/schemas/Thing" }),
          409: json({
            allOf: [{ $ref: "#/components/schemas/Open" }, { properties: { why: { type: "string" } } }],
          }),
        },
      },
    },
    "/things/all": { get: { responses: { 200: json({ type: "array" }) } } },
  },
  components: { schemas: { Thing, Open: { ...Thing, additionalProperties: {} } } },
});

async function faultOf(
  body: unknown,
  { path = "/things/a%2Fb", method = "GET", status = 200, type = "json" } = {},
) {
  const headers = { "content-type": `application/${type}; charset=utf-8` };
  const answer = new Response(JSON.stringify(body), { status, headers });
  try {
    await check({ method, path }, answer);
    return undefined;
  } catch (cause) {
    return (cause as Error).message;
  }
}

describe("checkOf()", () => {
  it("passes what is as it is described, and leaves the answer to be read", async () => {
    expect(await faultOf({ id: "a", at: "2026-01-01T00:00:00.000Z" })).toBeUndefined();
    const answer = Response.json({ id: "a" });
    await check({ method: "GET", path: "/things/a" }, answer);
    expect(await answer.json()).toEqual({ id: "a" });
  });

  it.each([
    ["a field that is missing", {}, "required property 'id'"],
    ["a field that is not described", { id: "a", b: 1 }, "additional properties"],
    ["a field of another type", { id: 1 }, "must be string"],
    ["a time that is none", { id: "a", at: "yesterday" }, "date-time"],
  ])("refuses %s", async (_name, body, fault) => {
    expect(await faultOf(body)).toContain(fault);
  });

  it("refuses a status and a content type that are not described", async () => {
    expect(await faultOf({ id: "a" }, { status: 201 })).toBe("GET /things/{thing} → 201 is not described");
    expect(await faultOf({ id: "a" }, { type: "problem+json" })).toContain("application/problem+json is not");
  });

  it("lets what is said to be open have more fields", async () => {
    expect(await faultOf({ id: "a", why: "so", state: "x" }, { status: 409 })).toBeUndefined();
    expect(await faultOf({ id: "a", why: 1 }, { status: 409 })).toContain("must be string");
  });

  it("takes a path as it is written before one with parameters", async () => {
    expect(await faultOf([], { path: "/things/all" })).toBeUndefined();
    expect(await faultOf([], { path: "/things/one" })).toContain("must be object");
  });

  it("says nothing of what is no operation", async () => {
    expect(await faultOf({}, { path: "/nothing", status: 404 })).toBeUndefined();
    expect(await faultOf({}, { method: "PATCH", status: 405 })).toBeUndefined();
  });
});
