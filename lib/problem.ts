import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { z } from "zod";

/** Problem details as they are answered. Some kinds add members of their own. */
export const ProblemBody = z
  .looseObject({
    type: z.string().meta({ description: "Names the kind of problem for programs" }),
    title: z.string(),
    status: z.int(),
    detail: z.string().meta({ description: "Tells a person about this one" }),
    instance: z.string().meta({ description: "The path that was asked for" }),
    errors: z
      .array(z.looseObject({ detail: z.string() }))
      .optional()
      .meta({ description: "Each fault of the request and its place" }),
  })
  .meta({ id: "Problem", description: "Problem details (RFC 9457)" });

/** RFC 9457 problem details, as an error that ends a request. */
export class Problem extends Error {
  override name = "Problem";
  readonly status: ContentfulStatusCode;
  readonly type: string;
  readonly title: string;
  readonly extra: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  /**
   * @param type Last part of the problem's URI: `out-of-range` becomes `urn:problem:shop:out-of-range`. It names the
   * kind of problem for programs; `detail` tells a person about this one.
   */
  constructor(
    status: ContentfulStatusCode,
    type: string,
    options: {
      title: string;
      detail: string;
      extra?: Record<string, unknown>;
      headers?: Record<string, string>;
    },
  ) {
    super(options.detail);
    this.status = status;
    this.type = `urn:problem:shop:${type}`;
    this.title = options.title;
    this.extra = options.extra ?? {};
    this.headers = options.headers ?? {};
  }
}

export function problemResponse(context: Context, problem: Problem): Response {
  const { type, title, status, message: detail, extra, headers } = problem;
  return context.body(
    JSON.stringify({ type, title, status, detail, instance: context.req.path, ...extra }),
    status,
    { ...headers, "content-type": "application/problem+json" },
  );
}
