import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import type { Hono } from "hono";
import { describeApi, type Env } from "../../lib/mod.ts";

type Json = Record<string, unknown>;
type Responses = Record<string, { content?: Record<string, { schema?: object }> }>;

/** Says of an answer to `method path` what is not as it is described; throws that. */
export type AnswerCheck = (request: { method: string; path: string }, answer: Response) => Promise<void>;

/**
 * Compares answers with the app's OpenAPI document: the operation, the status, the content type, and JSON by its schema.
 * Stricter than the document, in which more fields may come: here, each field that comes has to be described.
 */
export async function answerCheck(app: Hono<Env>): Promise<AnswerCheck> {
  return checkOf(JSON.parse(JSON.stringify(await describeApi(app, "test"))));
}

/** As {@linkcode answerCheck}, for a document that a service answered with. */
export function checkOf(document: {
  paths: Record<string, Record<string, { responses: Responses }>>;
  components?: object;
}): AnswerCheck {
  const ajv = new Ajv.default({ strict: false, allErrors: true });
  formats.default(ajv);
  // JSON Schema's, which the package has not: what is an address the service says.
  ajv.addFormat("idn-email", true);
  ajv.addSchema(closed(document) as Json, "api");
  const templates = Object.keys(document.paths).sort((a, b) => parameters(a) - parameters(b));
  return async ({ method, path }, answer) => {
    const template = templates.find((candidate) => pattern(candidate).test(path));
    const operation = template === undefined ? undefined : document.paths[template]?.[method.toLowerCase()];
    // What there is no route for is answered 404 or 405, and belongs to no operation.
    if (template === undefined || operation === undefined) return;
    const where = `${method} ${template} → ${answer.status}`;
    const response = operation.responses[String(answer.status)];
    if (response === undefined) throw new Error(`${where} is not described`);
    if (response.content === undefined) return;
    const type = answer.headers.get("content-type")?.split(";", 1)[0] ?? "";
    if (response.content[type] === undefined) throw new Error(`${where}: the type ${type} is not described`);
    if (!type.endsWith("json") || response.content[type].schema === undefined) return;
    const place = [
      "paths",
      template,
      method.toLowerCase(),
      "responses",
      String(answer.status),
      "content",
      type,
    ];
    const validate = ajv.getSchema(`api#/${[...place, "schema"].map(escaped).join("/")}`);
    if (validate === undefined) throw new Error(`${where} has no schema`);
    const body = await answer.clone().json();
    if (!validate(body))
      throw new Error(`${where}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(body)}`);
  };
}

/** The same app, whose answers to `request()` are compared with its description. */
export function checked(app: Hono<Env>): Hono<Env> {
  const request = app.request.bind(app);
  let check: Promise<AnswerCheck> | undefined;
  app.request = async (input, init, ...rest) => {
    check ??= answerCheck(app);
    const answer = await request(input, init, ...rest);
    const { method, url } =
      input instanceof Request ? input : { method: init?.method ?? "GET", url: String(input) };
    await (await check)({ method, path: new URL(url, "http://test").pathname }, answer);
    return answer;
  };
  return app;
}

/** With every object closed that does not say whether it is. A part of an `allOf` does not know the others' fields. */
function closed(schema: unknown, inAllOf = false): unknown {
  if (Array.isArray(schema)) return schema.map((item) => closed(item, inAllOf));
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([name, value]) => [name, closed(value, name === "allOf")]);
  const copy = Object.fromEntries(entries) as Json;
  const open = copy.type === "object" && "properties" in copy && !("additionalProperties" in copy);
  return open && !inAllOf ? { ...copy, additionalProperties: false } : copy;
}

function parameters(template: string): number {
  return template.split("{").length;
}

function pattern(template: string): RegExp {
  const parts = template.split("/").map((part) => (part.startsWith("{") ? "[^/]+" : RegExp.escape(part)));
  return new RegExp(`^${parts.join("/")}$`);
}

/** RFC 6901, in a fragment. */
function escaped(part: string): string {
  return encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));
}
