import type { Hono } from "hono";
import type { Env } from "../../lib/mod.ts";
import type { Database } from "./database.ts";
import type { Tables } from "./tables.ts";

export function routes(app: Hono<Env>, _: { database: Database<Tables> }): Hono<Env> {
  return app;
}
