import { z } from "zod";
import { Problem } from "./problem.ts";

const ORDER_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** What {@linkcode readOrderId} takes, to describe a path. */
export const OrderId = z.string().regex(ORDER_ID);

/**
 * The id of an order, as it stands in a path.
 * @throws {Problem} `unknown(text)` for what can be the id of none: whoever asks for it gets the answer for an order that
 * was never placed. It gets no more than the beginning of a text that is too long.
 */
export function readOrderId(text: string | undefined, unknown: (text: string) => Problem): string {
  if (text !== undefined && ORDER_ID.test(text)) return text;
  throw unknown((text ?? "").slice(0, 64));
}

/**
 * The parameters of a request, checked: `readQuery(context.req.query(), { state, ...paging({ limit: 20, max: 100 }) })`.
 * @param shape Parameter to zod schema; each takes a string.
 * @throws {Problem} 400 with every fault and its place, a parameter that is not of the shape among them: a filter with
 * a typing error in its name would otherwise find everything.
 */
export function readQuery<S extends z.ZodRawShape>(
  query: Readonly<Record<string, string>>,
  shape: S,
): z.infer<z.ZodObject<S>> {
  const read = z.strictObject(shape).safeParse(query);
  if (read.success) return read.data as z.infer<z.ZodObject<S>>;
  const errors = read.error.issues.flatMap((issue) => {
    // What is not of the shape is one issue of the whole.
    const names = issue.code === "unrecognized_keys" ? issue.keys : [String(issue.path[0])];
    const detail = issue.code === "unrecognized_keys" ? "There is no such parameter" : issue.message;
    return names.map((name) => ({ pointer: `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, detail }));
  });
  throw new Problem(400, "invalid-query", {
    title: "Invalid query",
    detail: errors.map(({ pointer, detail }) => `${pointer}: ${detail}`).join("; "),
    extra: { errors },
  });
}

/** Parameters of a list that is read page by page: `limit`, and `cursor`, which is read as a sequence, 1 without one. */
export function paging(options: { limit: number; max: number }) {
  return {
    limit: pageLimit(options),
    cursor: z
      .string()
      .transform(fromCursor)
      .pipe(z.number("Must be the next_cursor of an earlier page"))
      .default(1)
      .meta({ description: "The next_cursor of an earlier page" }),
  };
}

/** Entries that a page holds at most: `limit` unless the request says otherwise, and `max` whatever it says. */
export function pageLimit({ limit, max }: { limit: number; max: number }) {
  return z
    .string()
    .refine((text) => /^[1-9]\d{0,5}$/.test(text) && Number(text) <= max, `Must be a number from 1 to ${max}`)
    .transform(Number)
    .default(limit)
    .meta({
      type: "integer",
      minimum: 1,
      maximum: max,
      description: `How many a page may have: ${limit} unless told`,
    });
}

/** A place in a stream, in a form that nobody is tempted to count on. */
export function toCursor(seq: number): string {
  return Buffer.from(String(seq)).toString("base64url");
}

/** The sequence of a cursor, undefined if {@linkcode toCursor} has made no such. */
export function fromCursor(text: string): number | undefined {
  const decoded = Buffer.from(text, "base64url").toString();
  return /^[1-9]\d{0,14}$/.test(decoded) && toCursor(Number(decoded)) === text ? Number(decoded) : undefined;
}
