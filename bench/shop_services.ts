import { type ConsumerSpec, topology } from "../nats/mod.ts";
import { services as all, type Service } from "../services/mod.ts";

export const ANALYTICS = "analytics";

/**
 * What runs when the shop is measured: all but the analytics. They take no part in an order, no peer has anything like them,
 * and on the same cores they would take the time of what is compared. Their own benchmark is `catchup`.
 */
export const measuredServices: readonly Service[] = all.filter(({ name }) => name !== ANALYTICS);

/** For the report of a benchmark that runs {@linkcode measuredServices}. */
export const withoutAnalyticsSetting =
  "The analytics service does not run: it only looks on, and what it costs the others is measured by `catchup`.";

/** The consumers of what runs: what waits for the analytics is nobody's work. */
export const measuredConsumers: readonly ConsumerSpec[] = topology.consumers.filter(
  ({ service }) => service !== ANALYTICS,
);
