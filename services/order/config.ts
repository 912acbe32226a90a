import { z } from "zod";
import { common, type Environment, port, readConfig } from "../../lib/mod.ts";
import { isTraceUrl } from "../../nats/mod.ts";

/** @throws {StartError} If a variable is missing or wrong. */
export function readOrderConfig(environment: Environment = process.env) {
  return readConfig(
    "order",
    {
      ...common,
      ORDER_PORT: port(8080),
      /** `true` if inventory puts the sandbox items on sale: there is nothing to order before it has. */
      SANDBOX: z.stringbool().default(false),
      /** `replace` makes a new secret of order ids where the old one is lost: keys that are sent again are second orders then. */
      ORDER_ID_SECRET: z.enum(["keep", "replace"]).default("keep"),
      /** Orders that one client may send a second on average. Default: any number. */
      ORDER_RATE_LIMIT: z.coerce.number().positive().optional(),
      /** Orders that it may send at once after a pause. */
      ORDER_RATE_BURST: z.coerce.number().int().min(1).default(20),
      /** Proxies in front of this service, each of which adds the address that it sees to `X-Forwarded-For`. */
      TRUSTED_PROXIES: z.coerce.number().int().min(0).default(0),
      /** A path on the disk of the store, whose free space is watched. Default: it is not. */
      STORE_DISK: z.string().optional(),
      /** Where a timeline's reader finds the order's trace. Default: timelines name its id alone. */
      TRACE_URL: z
        .string()
        .refine(isTraceUrl, "must be a URL of http or https with {trace_id} in it")
        .optional(),
    },
    environment,
  );
}
