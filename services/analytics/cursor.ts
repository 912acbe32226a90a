import { z } from "zod";

/** A place in a list: what the last row of a page is ordered by. In a form that nobody is tempted to count on. */
export function toPlace(first: string | number, second: string): string {
  return Buffer.from(JSON.stringify([first, second])).toString("base64url");
}

/** What {@linkcode toPlace} has made of a `first` and a text. */
export function place<F extends z.ZodType>(first: F) {
  return z
    .string()
    .max(500)
    .transform(fromPlace)
    .pipe(z.tuple([first, Text], "Must be the next_cursor of an earlier page"))
    .optional();
}

/** What PostgreSQL takes as a text that is typed by a person. */
export const Text = z
  .string()
  .regex(/^[^\p{Cc}]{1,200}$/u, "Must be 1 to 200 characters and no control characters");

function fromPlace(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString());
  } catch {
    // The schema behind this says what is wrong.
    return undefined;
  }
}
