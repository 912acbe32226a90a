import type { AnyHandler, DeadLetter } from "../nats/mod.ts";
import { handlers as coordinator } from "../services/coordinator/handlers.ts";
import { handlers as fraud } from "../services/fraud/decide.ts";
import { handlers as fulfillment } from "../services/fulfillment/decide.ts";
import { handlers as inventory } from "../services/inventory/decide.ts";
import { handlers as notification } from "../services/notification/decide.ts";
import { handlers as order } from "../services/order/decide.ts";
import { handlers as payment } from "../services/payment/decide.ts";

/** Whether a message is taken does not depend on how long something may take: any time does. */
const SOME_TIME_MS = 60_000;

const unasked = (): never => {
  throw new TypeError("Cannot have an effect: a rehearsal stops before it");
};

/** What each service does about a message, as this build has it. A projection has none: it counts, and decides nothing. */
const handlersOf: Readonly<Record<string, () => readonly AnyHandler[]>> = {
  order: () => order,
  coordinator: () =>
    coordinator({
      reserving: SOME_TIME_MS,
      screening: SOME_TIME_MS,
      in_review: SOME_TIME_MS,
      charging: SOME_TIME_MS,
      fulfilling: SOME_TIME_MS,
      refunding: SOME_TIME_MS,
      releasing: SOME_TIME_MS,
    }),
  inventory: () => inventory,
  payment: () => payment({ provider: { name: "none", capture: unasked, refund: unasked } }),
  fraud: () => fraud({ reviewTtlMs: SOME_TIME_MS }),
  fulfillment: () => fulfillment({ unpackable: {} }),
  notification: () => notification({ mailer: { send: unasked } }),
};

/** The handler that gets the message of a dead letter, undefined if there is none. It is not to perform anything. */
export function handlerOf({ service, type }: Pick<DeadLetter, "service" | "type">): AnyHandler | undefined {
  return handlersOf[service]?.().find(({ contract }) => contract.subject === type);
}
