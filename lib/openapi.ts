import { STATUS_CODES } from "node:http";
import { Hono } from "hono";
import { findTargetHandler } from "hono/utils/handler";
import type { DescribeRouteOptions, ResolverReturnType } from "hono-openapi";
import { z } from "zod";
import packageJson from "../package.json" with { type: "json" };
import type { Env } from "./http.ts";
import {
  type Answer,
  described,
  type Operation,
  operationOf,
  type Schemes,
  type SecurityScheme,
  schemesOf,
} from "./operation.ts";
import { ProblemBody } from "./problem.ts";

const getDescription = {
  id: "getDescription",
  summary: "This description: OpenAPI 3.1",
  answers: {
    200: z.looseObject({ openapi: z.string() }),
    503: { description: "As many requests are under way as this process takes" },
  },
  errors: "own",
} satisfies Operation;

/**
 * `GET /openapi.json`: every route of `app`, as it is described. Made when it is first asked for, so that a start does not
 * wait for it.
 * @param name The service's.
 */
export function openApiRoutes(app: Hono<Env>, name: string): Hono {
  let text: Promise<string> | undefined;
  return new Hono().get("/openapi.json", described(getDescription), async (context) => {
    text ??= describeApi(app, name).then((document) => JSON.stringify(document));
    return context.body(await text, 200, { "content-type": "application/json" });
  });
}

/**
 * The OpenAPI 3.1 document of all routes that are {@linkcode described}.
 * @throws {TypeError} If a schema has no form in JSON.
 */
export async function describeApi(app: Hono<Env>, name: string) {
  const { describeRoute, generateSpecs, resolver, validator } = await import("hono-openapi");
  const resolve = (schema: z.ZodType) => resolver(schema, toJsonSchema);
  // Made of descriptions alone and asked for nothing: the service itself need not load what generates.
  const api = new Hono();
  const used = new Set<SecurityScheme>();
  for (const { method, path, handler } of app.routes) {
    const operation = operationOf(findTargetHandler(handler));
    if (operation === undefined) continue;
    const schemes = schemesFor(app, method, path);
    for (const scheme of schemes) used.add(scheme);
    const { query, headers } = operation;
    if (operation.path)
      api.on(method, path, validator("param", z.object(operation.path), undefined, toJsonSchema));
    if (query) api.on(method, path, validator("query", z.strictObject(query), undefined, toJsonSchema));
    if (headers) api.on(method, path, validator("header", z.object(headers), undefined, toJsonSchema));
    api.on(method, path, describeRoute(toSpec(operation, { schemes, resolve })));
  }
  return generateSpecs(api, {
    excludeStaticFile: false,
    defaultValidationErrorResponse: false,
    documentation: {
      info: {
        title: name,
        version: packageJson.version,
        description: `HTTP interface of the ${name} service`,
      },
      components: {
        securitySchemes: Object.fromEntries([...used].map((scheme) => [scheme, securitySchemes[scheme]])),
      },
    },
  });
}

type Bounds = { minimum?: number; maximum?: number; format?: string; pattern?: string };

/** Options of `z.toJSONSchema`. */
const toJsonSchema = {
  options: {
    override: ({ jsonSchema }: { jsonSchema: Bounds }) => {
      // That a number in JSON is exact says nothing about this one, nor half a kilobyte that says `date-time` again.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.format === "date-time") delete jsonSchema.pattern;
    },
  },
};

const securitySchemes = {
  operator: { type: "http", scheme: "bearer", description: "The operator's token" },
  registrant: { type: "http", scheme: "bearer", description: "A token that may register schemas" },
  basic: { type: "http", scheme: "basic", description: "Either token as the password" },
} as const satisfies Record<SecurityScheme, object>;

/** What the middleware in front of a route asks for. */
function schemesFor(app: Hono<Env>, method: string, path: string): Schemes {
  const [matches] = app.router.match(method, path);
  const found = matches.flatMap(([[handler]]) => {
    const schemes = schemesOf(findTargetHandler(handler), method);
    return schemes === undefined ? [] : [schemes];
  });
  return found[0] ?? [];
}

type Resolve = (schema: z.ZodType) => ResolverReturnType;
type Responses = NonNullable<DescribeRouteOptions["responses"]>;

function toSpec(
  operation: Operation,
  { schemes, resolve }: { schemes: Schemes; resolve: Resolve },
): DescribeRouteOptions {
  const { id, summary, description, body, bodyTypes = ["application/json"], answers } = operation;
  const responses: Responses = {};
  for (const [status, answer] of Object.entries(answers)) {
    responses[status] = toResponse(
      status,
      answer instanceof z.ZodType ? { schema: answer } : answer,
      resolve,
    );
  }
  for (const [status, types] of problemsOf(operation, schemes)) {
    responses[status] = {
      description: STATUS_CODES[status] ?? "Problem",
      content: { "application/problem+json": { schema: resolve(problemOf(types)) } },
    };
  }
  return {
    operationId: id,
    summary,
    ...(description && { description }),
    ...(schemes.length > 0 && { security: schemes.map((scheme) => ({ [scheme]: [] })) }),
    ...(body && {
      requestBody: {
        required: true,
        content: Object.fromEntries(bodyTypes.map((type) => [type, { schema: resolve(body) }])),
      },
    }),
    responses,
  };
}

function toResponse(status: string, answer: Answer, resolve: Resolve): Responses[string] {
  const { description, schema, types = ["application/json"], headers } = answer;
  return {
    description: description ?? STATUS_CODES[status] ?? status,
    ...(headers && {
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, says]) => [
          name,
          { description: says, schema: { type: "string" as const } },
        ]),
      ),
    }),
    ...((schema || answer.types) && {
      content: Object.fromEntries(types.map((type) => [type, schema ? { schema: resolve(schema) } : {}])),
    }),
  };
}

function problemOf(types: readonly string[]) {
  const uris = types.map((type) => `urn:problem:shop:${type}`);
  return z.intersection(ProblemBody, z.looseObject({ type: z.enum(uris) }));
}

/** The operation's own problems and those that `lib/` answers for it, by status. */
function problemsOf(
  { query, body, problems = {}, errors = "problems" }: Operation,
  schemes: Schemes,
): Map<number, string[]> {
  const common: readonly (readonly [number, string])[] = [
    ...(query ? [[400, "invalid-query"] as const] : []),
    ...(body
      ? ([
          [400, "malformed-json"],
          [413, "body-too-large"],
          [415, "unsupported-media-type"],
          [422, "invalid-request"],
        ] as const)
      : []),
    ...(schemes.length > 0 ? [[401, "unauthorized"] as const] : []),
    [500, "internal"],
    [503, "unavailable"],
    [503, "overloaded"],
  ];
  const own = Object.entries(problems).flatMap(([status, types]) =>
    types.map((type) => [Number(status), type] as const),
  );
  const all = new Map<number, string[]>();
  for (const [status, type] of errors === "own" ? own : [...own, ...common]) {
    const types = all.get(status) ?? [];
    if (!types.includes(type)) all.set(status, [...types, type]);
  }
  return all;
}
