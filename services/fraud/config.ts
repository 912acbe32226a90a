import { common, type Environment, milliseconds, port, readConfig } from "../../lib/mod.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** @throws {StartError} If a variable is missing or wrong. */
export function readFraudConfig(environment: Environment = process.env) {
  return readConfig(
    "fraud",
    {
      ...common,
      FRAUD_PORT: port(8084),
      /** How long a review waits for a person before it counts as rejected. */
      REVIEW_TTL_MS: milliseconds(DAY_MS),
    },
    environment,
  );
}
