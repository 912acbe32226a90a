import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { guarding } from "./operation.ts";
import { Problem } from "./problem.ts";

/** Whether two secrets are the same, in a time that says nothing about where they differ or how long they are. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b));
}

/** Lets only requests with `Authorization: Bearer <token>` pass; the others get 401 and change nothing. */
export function operatorOnly(token: string): MiddlewareHandler {
  const middleware: MiddlewareHandler = async (context, next) => {
    if (!isSameSecret(context.req.header("authorization") ?? "", `Bearer ${token}`)) {
      throw new Problem(401, "unauthorized", {
        title: "Operator token required",
        detail: "Send the operator token as `Authorization: Bearer <token>`",
        headers: { "www-authenticate": "Bearer" },
      });
    }
    await next();
  };
  return guarding(middleware, () => ["operator"]);
}

/** Digests have one length. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
