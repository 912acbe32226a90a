import { common, type Environment, milliseconds, port, readConfig } from "../../lib/mod.ts";
import type { Deadlines } from "./decide.ts";

const MINUTE = 60_000;

/** @throws {StartError} If a variable is missing or wrong. */
export function readCoordinatorConfig(environment: Environment = process.env) {
  const config = readConfig(
    "coordinator",
    {
      ...common,
      COORDINATOR_PORT: port(8088),
      // Long enough for a participant to be down and catch up.
      RESERVING_DEADLINE_MS: milliseconds(15 * MINUTE),
      SCREENING_DEADLINE_MS: milliseconds(15 * MINUTE),
      /** Beyond the expiry that the fraud service sees to. */
      IN_REVIEW_DEADLINE_MS: milliseconds(MINUTE),
      // Short: a customer who does not know whether money was taken asks, or pays again.
      CHARGING_DEADLINE_MS: milliseconds(30_000),
      /** After this the participant is asked again, and then after twice as long each time. */
      FULFILLING_DEADLINE_MS: milliseconds(MINUTE),
      REFUNDING_DEADLINE_MS: milliseconds(MINUTE),
      RELEASING_DEADLINE_MS: milliseconds(MINUTE),
      /** How often overdue checkouts are looked for, independently of their timers. */
      SWEEP_EVERY_MS: milliseconds(30_000),
    },
    environment,
  );
  const deadlines: Deadlines = {
    reserving: config.RESERVING_DEADLINE_MS,
    screening: config.SCREENING_DEADLINE_MS,
    in_review: config.IN_REVIEW_DEADLINE_MS,
    charging: config.CHARGING_DEADLINE_MS,
    fulfilling: config.FULFILLING_DEADLINE_MS,
    refunding: config.REFUNDING_DEADLINE_MS,
    releasing: config.RELEASING_DEADLINE_MS,
  };
  return { ...config, deadlines };
}
