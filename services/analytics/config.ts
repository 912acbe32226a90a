import { resolve } from "node:path";
import { z } from "zod";
import { common, type Environment, port, readConfig } from "../../lib/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readAnalyticsConfig(environment: Environment = process.env) {
  return readConfig(
    "analytics",
    {
      ...common,
      ANALYTICS_PORT: port(8087),
      /** A PostgreSQL server and a database on it. Default: PGlite, PostgreSQL within the process, in `DATA_DIR/analytics`. */
      DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
      /** Absolute once read. */
      DATA_DIR: z
        .string()
        .default(".data")
        .transform((path) => resolve(path)),
    },
    environment,
  );
}
