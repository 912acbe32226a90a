import { common, type Environment, milliseconds, port, readConfig } from "../../lib/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readMonitorConfig(environment: Environment = process.env) {
  return readConfig(
    "monitor",
    {
      ...common,
      MONITOR_PORT: port(8089),
      /** Pause between two looks at what the ledgers say. */
      RECONCILE_EVERY_MS: milliseconds(2_000),
      /** How long an order has to be quiet before it is judged: what is under way is not wrong yet. */
      RECONCILE_SETTLE_MS: milliseconds(10_000),
      /** Pause between two looks at how far the consumers are behind. */
      LAG_EVERY_MS: milliseconds(2_000),
    },
    environment,
  );
}
