import { resolve } from "node:path";
import { z } from "zod";
import { common, type Environment, port, readConfig, StartError } from "../../lib/mod.ts";

const loopback = new Set(["127.0.0.1", "::1", "localhost"]);

/** @throws {StartError} If a variable is missing or wrong. */
export function readRegistryConfig(environment: Environment = process.env) {
  const config = readConfig(
    "registry",
    {
      ...common,
      REGISTRY_PORT: port(8081),
      /** Fewer than elsewhere: each may hold a body of 1 MiB, and two at a time are compiled. */
      MAX_IN_FLIGHT: z.coerce.number().int().min(1).default(128),
      /**
       * Who may register. Deleting and changing settings is then the operator's. Unset: whoever reaches it may do all of it,
       * which is for loopback only.
       */
      REGISTRY_TOKEN: z.string().optional(),
      /** Where schemas are compiled, in `DATA_DIR/registry`. Absolute once read. */
      DATA_DIR: z
        .string()
        .default(".data")
        .transform((path) => resolve(path)),
    },
    environment,
  );
  if (config.REGISTRY_TOKEN === undefined && !loopback.has(config.HOST)) {
    throw new StartError("Cannot start registry: set REGISTRY_TOKEN, or let it listen on loopback only");
  }
  return config;
}
