import type { Hono } from "hono";
import { described, type Env } from "../../lib/mod.ts";
import { limitAccess, type Tokens } from "./access.ts";
import { answer, answerCause, answerUnknown, checkContentType } from "./answer.ts";
import * as api from "./api.ts";
import { compatibilityRoutes } from "./compatibility.ts";
import type { Registry } from "./registry.ts";
import { schemaRoutes } from "./schemas.ts";
import { settingsRoutes } from "./settings.ts";
import { subjectRoutes } from "./subjects.ts";

/** A schema of 400 KiB, each character of which may be escaped, and its references. More is 42209. */
export const MAX_REGISTRY_BODY_BYTES = 1024 * 1024;

/**
 * The REST API of Confluent Schema Registry for Protobuf, on the same data as every service's gates. Errors are
 * `{"error_code","message"}`.
 */
export function routes(app: Hono<Env>, options: Registry & Tokens): Hono<Env> {
  app.onError(answerCause);
  app.notFound((context) => answerUnknown(context, app));
  app.use(checkContentType());
  app.use(limitAccess(options));
  app.get("/", described(api.getRoot), (context) => answer(context, {}));
  app.get("/contexts", described(api.listContexts), (context) => answer(context, ["."]));
  // Asked for by a client that looks for subjects that are tied to a topic. There are none.
  app.get("/associations/resources/-/:topic", described(api.listAssociations), (context) =>
    answer(context, []),
  );
  subjectRoutes(app, options);
  schemaRoutes(app, options);
  compatibilityRoutes(app, options);
  settingsRoutes(app, options);
  return app;
}
