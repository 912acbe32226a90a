import { z } from "zod";
import { common, type Environment, milliseconds, port, readConfig } from "../../lib/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readPaymentConfig(environment: Environment = process.env) {
  return readConfig(
    "payment",
    {
      ...common,
      PAYMENT_PORT: port(8083),
      /** How late `tok_slow` answers. Longer than a checkout waits for its charge (30 s), so that it times out. */
      SANDBOX_SLOW_MS: milliseconds(35_000),
      /** Money moves through Stripe if this is set, through the sandbox otherwise. */
      STRIPE_SECRET_KEY: z.string().optional(),
      /** Protocol, host and port of Stripe's API. Default: the real one. */
      STRIPE_API_BASE: z.url({ protocol: /^https?$/ }).optional(),
    },
    environment,
  );
}

export type PaymentConfig = ReturnType<typeof readPaymentConfig>;
