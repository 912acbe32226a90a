import { z } from "zod";
import { common, type Environment, port, readConfig } from "../../lib/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readInventoryConfig(environment: Environment = process.env) {
  return readConfig(
    "inventory",
    {
      ...common,
      INVENTORY_PORT: port(8082),
      /** `true` puts the sandbox items on sale at the first start. */
      SANDBOX: z.stringbool().default(false),
    },
    environment,
  );
}
