import { Validator } from "@seriousme/openapi-schema-validator";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { readBody } from "./body.ts";
import { createApp } from "./http.ts";
import { createMetrics } from "./metrics.ts";
import { describeApi, openApiRoutes } from "./openapi.ts";
import { Cents, described, type Operation, oneOf, Time } from "./operation.ts";
import { operatorOnly } from "./operator.ts";
import { OrderId, paging, readQuery } from "./request.ts";

const listThings = {
  id: "listThings",
  summary: "Things",
  query: { state: z.enum(["open", "shut"]).optional(), ...paging({ limit: 20, max: 100 }) },
  answers: {
    200: z.object({ things: z.array(z.object({ at: Time, cents: Cents })) }).meta({ id: "Things" }),
  },
} satisfies Operation;

const putThing = {
  id: "putThing",
  summary: "Puts a thing",
  path: { thing: OrderId },
  headers: { "if-match": z.string() },
  body: z.strictObject({ state: z.enum(["open", "shut"]), note: z.string().max(10).default("") }),
  answers: {
    202: { schema: z.object({ state: oneOf(["open", "shut"]) }), headers: { location: "Where it is" } },
  },
  problems: { 404: ["unknown-thing"], 422: ["no-room"] },
} satisfies Operation;

function thingsApp() {
  const app = createApp({ log: pino({ level: "silent" }), metrics: createMetrics("things") });
  app.use("/things/:thing", operatorOnly("dev"));
  app.get("/things", described(listThings), (context) => {
    const query = readQuery(context.req.query(), listThings.query);
    return context.json({ things: [], query });
  });
  app.put("/things/:thing", described(putThing), async (context) => {
    const { state } = await readBody(context.req.raw, putThing.body);
    return context.json({ state }, 202);
  });
  app.route("/", openApiRoutes(app, "things"));
  return app;
}

const document = await describeApi(thingsApp(), "things");

/** The types of problems that are described, by status. */
function problemsIn(responses: object | undefined): Record<string, string[]> {
  const entries = Object.entries(responses ?? {}).flatMap(([status, { content }]) => {
    const problem = content?.["application/problem+json"]?.schema.allOf[1].properties.type.enum as string[];
    return problem ? [[status, problem.map((type) => type.replace("urn:problem:shop:", ""))]] : [];
  });
  return Object.fromEntries(entries);
}

describe("describeApi()", () => {
  const { get } = document.paths["/things"] ?? {};
  const { put } = document.paths["/things/{thing}"] ?? {};

  it("makes a document that a validator takes", async () => {
    const copy = JSON.parse(JSON.stringify(document));
    expect(copy.openapi).toMatch(/^3\.1\./);
    expect(await new Validator().validate(copy)).toEqual({ valid: true });
  });

  it("describes parameters by the schemas that read them", () => {
    expect(JSON.parse(JSON.stringify(get?.parameters))).toEqual([
      { in: "query", name: "state", schema: { type: "string", enum: ["open", "shut"] } },
      {
        in: "query",
        name: "limit",
        description: "How many a page may have: 20 unless told",
        schema: { type: "integer", minimum: 1, maximum: 100 },
      },
      {
        in: "query",
        name: "cursor",
        description: "The next_cursor of an earlier page",
        schema: { type: "string" },
      },
    ]);
    expect(put?.parameters).toEqual([
      {
        in: "path",
        name: "thing",
        required: true,
        schema: { type: "string", pattern: "^[A-Za-z0-9_-]{1,64}$" },
      },
      { in: "header", name: "if-match", required: true, schema: { type: "string" } },
    ]);
  });

  it("describes a body as it may be sent, with what it may leave out", () => {
    expect(put?.requestBody).toMatchObject({
      required: true,
      content: {
        "application/json": {
          schema: {
            properties: { note: { type: "string", maxLength: 10, default: "" } },
            required: ["state"],
            additionalProperties: false,
          },
        },
      },
    });
  });

  it("describes answers, named ones once", () => {
    expect(get?.responses?.["200"]).toEqual({
      description: "OK",
      content: { "application/json": { schema: { $ref: "#/components/schemas/Things" } } },
    });
    expect(document.components.schemas).toMatchObject({
      Things: { properties: { things: { items: { properties: { at: { format: "date-time" } } } } } },
    });
    expect(put?.responses?.["202"]).toMatchObject({
      headers: { location: { description: "Where it is" } },
      content: { "application/json": { schema: { properties: { state: { enum: ["open", "shut"] } } } } },
    });
  });

  it("adds the problems that any such route may answer", () => {
    const always = { 500: ["internal"], 503: ["unavailable", "overloaded"] };
    expect(problemsIn(get?.responses)).toEqual({ 400: ["invalid-query"], ...always });
    expect(problemsIn(put?.responses)).toEqual({
      400: ["malformed-json"],
      401: ["unauthorized"],
      404: ["unknown-thing"],
      413: ["body-too-large"],
      415: ["unsupported-media-type"],
      422: ["no-room", "invalid-request"],
      ...always,
    });
  });

  it("knows from the middleware which routes want a token", () => {
    expect(get?.security).toBeUndefined();
    expect(put?.security).toEqual([{ operator: [] }]);
    expect(document.components.securitySchemes).toMatchObject({
      operator: { type: "http", scheme: "bearer" },
    });
  });

  it("leaves out what is not described", async () => {
    const app = createApp({ log: pino({ level: "silent" }), metrics: createMetrics("things") });
    app.get("/secret", (context) => context.json({}));
    app.route("/", openApiRoutes(app, "things"));
    expect(Object.keys((await describeApi(app, "things")).paths)).toEqual(["/openapi.json"]);
  });
});

describe("GET /openapi.json", () => {
  it("answers with the document", async () => {
    const answer = await thingsApp().request("/openapi.json");
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.json()).toEqual(JSON.parse(JSON.stringify(document)));
  });
});
