import { common, type Environment, port, readConfig } from "../../lib/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readOrderConfig(environment: Environment = process.env) {
  return readConfig("order", { ...common, ORDER_PORT: port(8080) }, environment);
}
