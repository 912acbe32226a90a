import type { JetStreamManager } from "@nats-io/jetstream";
import { key } from "./contracts/contract.ts";
import { checkoutState } from "./contracts/shop.ts";
import type { OpenLetter, OpenLetters } from "./open_letters.ts";
import { MAX_PAGE, viewReadable } from "./read.ts";
import { streamHolding } from "./topology.ts";

/** An order that stays where it is, since what it waits for is a dead letter. */
export interface StuckOrder {
  readonly orderId: string;
  /** `created`: it cannot begin. `unreadable`: nobody can tell. */
  readonly state: string;
  /** Parked, or discarded, which is for good. */
  readonly letters: readonly OpenLetter[];
}

/**
 * All orders that dead letters hold up, those whose letters are oldest first. Costs by the dead letters that are open: one
 * request for a thousand orders.
 *
 * @throws {Error} If the server does not answer.
 */
export async function readStuck(jsm: JetStreamManager, letters: OpenLetters): Promise<StuckOrder[]> {
  await letters.refresh();
  const stream = streamHolding(checkoutState)?.name ?? "";
  const orderIds = [...letters.orderIds];
  const stuck: StuckOrder[] = [];
  for (let from = 0; from < orderIds.length; from += MAX_PAGE) {
    const some = orderIds.slice(from, from + MAX_PAGE);
    const keys = some.map((orderId) => key(checkoutState, orderId));
    const checkouts = await viewReadable(jsm, stream, keys);
    for (const [index, orderId] of some.entries()) {
      const checkout = checkouts[index];
      const state = checkout === "unreadable" ? checkout : (checkout?.state ?? "created");
      const holding = letters.holding({ orderId, state });
      if (holding.length > 0) stuck.push({ orderId, state, letters: holding });
    }
  }
  return stuck;
}
