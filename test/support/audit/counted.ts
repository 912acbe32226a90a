import {
  checkoutCancelled,
  checkoutCompleted,
  orderCreated,
  paymentCaptured,
  paymentRefunded,
} from "../../../nats/contracts/mod.ts";
import { type Ledgers, said } from "./ledgers.ts";

/** The parts of analytics' `GET /summary` that {@linkcode countLedgers} counts as well. */
export interface Counted {
  readonly orders: { placed: number; live: number; completed: number; cancelled: number };
  readonly cancelled: readonly { reason: string; orders: number }[];
  readonly revenue: readonly {
    currency: string;
    captures: number;
    captured_cents: number;
    refunds: number;
    refunded_cents: number;
    net_cents: number;
  }[];
}

/**
 * What analytics has to have counted of these ledgers once it has read all of them. It knows the contracts and shares no code
 * with the service; where that counts transitions, this counts ends.
 */
export function countLedgers(ledgers: Ledgers): Counted {
  const cancellations = [...said(ledgers, checkoutCancelled).values()].map(([first]) => first?.value.reason);
  const [placed, completed, cancelled] = [
    said(ledgers, orderCreated).size,
    said(ledgers, checkoutCompleted).size,
    cancellations.length,
  ];
  const reasons = Map.groupBy(cancellations, (reason) => reason ?? "");
  const captures = [...said(ledgers, paymentCaptured).values()].flat().map(({ value }) => value);
  const refunds = [...said(ledgers, paymentRefunded).values()].flat().map(({ value }) => value);
  const currencies = new Set(captures.map(({ currency }) => currency));
  return {
    orders: { placed, live: placed - completed - cancelled, completed, cancelled },
    cancelled: [...reasons]
      .map(([reason, { length: orders }]) => ({ reason, orders }))
      .sort((one, other) => other.orders - one.orders || (one.reason < other.reason ? -1 : 1)),
    revenue: [...currencies].toSorted().map((currency) => {
      const [captured, refunded] = [captures, refunds].map((all) =>
        all.filter((value) => value.currency === currency),
      );
      const [captured_cents, refunded_cents] = [captured, refunded].map((all = []) =>
        Number(all.reduce((sum, { amountCents }) => sum + amountCents, 0n)),
      ) as [number, number];
      return {
        currency,
        captures: captured?.length ?? 0,
        captured_cents,
        refunds: refunded?.length ?? 0,
        refunded_cents,
        net_cents: captured_cents - refunded_cents,
      };
    }),
  };
}
