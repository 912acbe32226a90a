import { readCoordinatorConfig } from "../services/coordinator/config.ts";

/** How much later than it is due the server may take a timer for past. */
const MARGIN_MS = 5_000;

/** When a checkout's first timer is due after its order: at the shortest of the coordinator's deadlines. */
export function timerMs(): number {
  // Neither is used here, and a coordinator without them does not start.
  const required = { NATS_URL: "nats://127.0.0.1:4222", OPERATOR_TOKEN: "none" };
  const { deadlines } = readCoordinatorConfig({ ...process.env, ...required });
  return Math.min(...Object.values(deadlines));
}

/** After this all timers that are set now were due. */
export function timersPastMs(): number {
  return timerMs() + MARGIN_MS;
}
