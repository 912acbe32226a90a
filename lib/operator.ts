import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { Problem } from "./problem.ts";

/** Lets only requests with `Authorization: Bearer <token>` pass; the others get 401 and change nothing. */
export function operatorOnly(token: string): MiddlewareHandler {
  const expected = digest(`Bearer ${token}`);
  return async (context, next) => {
    // Digests have one length, so that the comparison says nothing about the token's.
    if (!timingSafeEqual(digest(context.req.header("authorization") ?? ""), expected)) {
      throw new Problem(401, "unauthorized", {
        title: "Operator token required",
        detail: "Send the operator token as `Authorization: Bearer <token>`",
        headers: { "www-authenticate": "Bearer" },
      });
    }
    await next();
  };
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
