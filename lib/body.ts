import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { z } from "zod";
import { Problem } from "./problem.ts";

const JSON_TYPE = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i;

/** An order of a hundred lines takes about 6 KiB. */
export const MAX_BODY_BYTES = 64 * 1024;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Answers 413 to a body of more than `maxBytes`: by the length that is told, else once more has come. */
export function limitBody(maxBytes: number): MiddlewareHandler {
  const limitUntold = bodyLimit({
    maxSize: maxBytes,
    onError: () => {
      throw tooLarge(maxBytes);
    },
  });
  return async (context, next) => {
    const length = context.req.header("content-length");
    if (length === undefined || context.req.header("transfer-encoding") !== undefined) {
      return limitUntold(context, next);
    }
    // The server takes no more of a body than that. Nothing else is touched here: it would make a stream of the body.
    if (!(Number(length) <= maxBytes)) throw tooLarge(maxBytes);
    await next();
  };
}

function tooLarge(maxBytes: number): Problem {
  return new Problem(413, "body-too-large", {
    title: "Body too large",
    detail: `The body of a request may have ${maxBytes} bytes`,
    // The rest of the body is not read, so nothing else can come over this connection.
    headers: { connection: "close" },
  });
}

/**
 * The request's JSON body, checked.
 * @throws {Problem} 415 for another content type, 400 for what is no JSON, 422 with every fault and its place for what
 * does not fit the schema.
 */
export async function readBody<S extends z.ZodType>(request: Request, schema: S): Promise<z.infer<S>> {
  const type = request.headers.get("content-type") ?? "";
  if (!JSON_TYPE.test(type) || request.headers.has("content-encoding")) {
    throw new Problem(415, "unsupported-media-type", {
      title: "Unsupported media type",
      detail: "Send the body as `Content-Type: application/json`, in UTF-8 and without a Content-Encoding",
    });
  }
  const bytes = await request.arrayBuffer();
  let body: unknown;
  try {
    body = JSON.parse(utf8.decode(bytes));
  } catch {
    throw malformed("The body is not valid JSON in UTF-8");
  }
  const read = schema.safeParse(body);
  if (read.success) return read.data;
  const errors = read.error.issues.map((issue) => ({ pointer: pointer(issue.path), detail: issue.message }));
  throw new Problem(422, "invalid-request", {
    title: "Invalid request",
    detail: errors.map((error) => `${error.pointer || "body"}: ${error.detail}`).join("; "),
    extra: { errors },
  });
}

export function malformed(detail: string): Problem {
  return new Problem(400, "malformed-json", { title: "Malformed JSON", detail });
}

/** RFC 6901. */
function pointer(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
