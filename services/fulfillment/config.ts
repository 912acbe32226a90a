import { z } from "zod";
import { common, type Environment, port, readConfig } from "../../lib/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readFulfillmentConfig(environment: Environment = process.env) {
  return readConfig(
    "fulfillment",
    {
      ...common,
      FULFILLMENT_PORT: port(8085),
      /** `true` makes the sandbox items fail that are there to fail. */
      SANDBOX: z.stringbool().default(false),
    },
    environment,
  );
}
