import type { MiddlewareHandler } from "hono";
import { type Env, guarding, isSameSecret, type Schemes } from "../../lib/mod.ts";
import { answerError } from "./answer.ts";

/** What a request may do: have schemas compiled and registered, or also delete and change settings. */
export type Role = "registrant" | "operator";

export interface Tokens {
  /** Undefined: whoever comes is an operator. */
  readonly registryToken: string | undefined;
  readonly operatorToken: string;
}

/**
 * Lets a request pass that may do what it asks for: to read, everybody; to register, look up and compare, who has either
 * token; to delete and to change settings, the operator. A token comes as `Authorization: Bearer <token>`, or as the password of Basic.
 *
 * One client of the registry sets a compatibility level for every subject that has none: with a token that may register, and
 * no more, that is refused.
 */
export function limitAccess({ registryToken, operatorToken }: Tokens): MiddlewareHandler<Env> {
  const middleware: MiddlewareHandler<Env> = async (context, next) => {
    const needed = roleNeeded(context.req.method);
    if (registryToken === undefined || needed === undefined) return next();
    const token = tokenIn(context.req.header("authorization") ?? "");
    const isOperator = isSameSecret(token, operatorToken);
    if (isOperator || (needed === "registrant" && isSameSecret(token, registryToken))) return next();
    if (isSameSecret(token, registryToken)) {
      return answerError(
        context,
        403,
        40301,
        "This token may register schemas. Deleting and settings want the operator's",
      );
    }
    const challenge = { "www-authenticate": "Bearer" };
    return answerError(context, 401, 40101, "Send a token as `Authorization: Bearer <token>`", challenge);
  };
  return guarding(middleware, (method) => {
    const needed = registryToken === undefined ? undefined : roleNeeded(method);
    return needed === undefined ? [] : schemes[needed];
  });
}

const schemes = {
  registrant: ["registrant", "operator", "basic"],
  operator: ["operator", "basic"],
} as const satisfies Record<Role, Schemes>;

/** To look a schema up and to compare one takes the compiler as registering does, which is not for everybody. */
function roleNeeded(method: string): Role | undefined {
  if (method === "PUT" || method === "DELETE") return "operator";
  return method === "POST" ? "registrant" : undefined;
}

function tokenIn(header: string): string {
  const [scheme = "", value = ""] = header.split(" ", 2);
  if (scheme.toLowerCase() === "bearer") return value;
  if (scheme.toLowerCase() !== "basic") return "";
  const text = Buffer.from(value, "base64").toString();
  return text.slice(text.indexOf(":") + 1);
}
