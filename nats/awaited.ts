import { type Contract, splitSubject } from "./contracts/contract.ts";
import * as shop from "./contracts/shop.ts";
import type { orderStates } from "./order_states.ts";

/** A message without which an order stays where it is, and the service that has to handle it. */
interface Awaited {
  readonly service: string;
  readonly contract: Contract;
}

const by = (service: string, ...contracts: Contract[]): Awaited[] =>
  contracts.map((contract) => ({ service, contract }));

const screened = [
  ...by("fraud", shop.screenOrder),
  ...by("coordinator", shop.orderCleared, shop.orderFlagged),
];
const reviewed = by("coordinator", shop.reviewApproved, shop.reviewRejected, shop.reviewExpired);

/**
 * What an order in each state waits for. It is what the coordinator's table says, which tests hold it to: the commands that are
 * sent when the state is entered, and the answers that lead out of it. Timers are none of them: the sweep does without.
 */
export const awaitedIn: Readonly<Record<(typeof orderStates)[number], readonly Awaited[]>> = {
  created: by("coordinator", shop.orderCreated),
  reserving: [
    ...by("inventory", shop.reserveStock),
    ...by("coordinator", shop.stockReserved, shop.stockRejected),
    ...screened,
    ...reviewed,
  ],
  screening: [...screened, ...reviewed],
  in_review: reviewed,
  charging: [
    ...by("payment", shop.chargePayment),
    ...by("coordinator", shop.paymentCaptured, shop.paymentDeclined),
  ],
  fulfilling: [
    ...by("fulfillment", shop.fulfillOrder),
    ...by("coordinator", shop.orderShipped, shop.orderActivated, shop.fulfillmentFailed),
  ],
  completed: [],
  releasing: [...by("inventory", shop.releaseStock), ...by("coordinator", shop.stockReleased)],
  refunding: [
    ...by("payment", shop.refundPayment),
    ...by("coordinator", shop.paymentRefunded, shop.paymentVoided),
  ],
  cancelled: [],
};

/**
 * Whether an order in a state waits for a service to handle a message. In a state that nobody can tell, it waits for whatever the
 * coordinator has to handle.
 */
export function isAwaited(
  state: string,
  { service, subject }: { service: string; subject: string },
): boolean {
  const { prefix } = splitSubject(subject);
  const awaited: Readonly<Record<string, readonly Awaited[] | undefined>> = awaitedIn;
  const known = awaited[state];
  if (known === undefined) return service === "coordinator";
  return known.some((it) => it.service === service && it.contract.subject === prefix);
}
