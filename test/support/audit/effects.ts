import * as shop from "../../../nats/contracts/mod.ts";
import { type Ledgers, said } from "./ledgers.ts";

/** What one participant may have done for an order that has ended. */
interface Participant {
  /** Its state; `status` says how far it got. Undefined: its events are its state, each stands for a status. */
  readonly state?: shop.Contract;
  /** Statuses that fit the end of the order; undefined: it was never asked. */
  readonly fits: {
    readonly completed: readonly (string | undefined)[];
    readonly cancelled: readonly (string | undefined)[];
  };
  /** Events that belong to a status, each exactly once. All others of `events` at most once. */
  readonly said: Readonly<Record<string, readonly shop.Contract[]>>;
  readonly events: readonly shop.Contract[];
}

const participants: readonly Participant[] = [
  {
    state: shop.reservation,
    fits: { completed: ["sold"], cancelled: ["rejected", "released", undefined] },
    said: {
      reserved: [shop.stockReserved],
      sold: [shop.stockReserved],
      rejected: [shop.stockRejected],
      released: [shop.stockReleased],
    },
    events: [shop.stockReserved, shop.stockRejected, shop.stockReleased],
  },
  {
    state: shop.payment,
    fits: { completed: ["captured"], cancelled: ["declined", "refunded", "voided", undefined] },
    said: {
      captured: [shop.paymentCaptured],
      declined: [shop.paymentDeclined],
      refunded: [shop.paymentCaptured, shop.paymentRefunded],
      voided: [shop.paymentVoided],
    },
    events: [shop.paymentCaptured, shop.paymentDeclined, shop.paymentRefunded, shop.paymentVoided],
  },
  {
    fits: { completed: ["shipped", "activated"], cancelled: ["failed", undefined] },
    said: {
      shipped: [shop.orderShipped],
      activated: [shop.orderActivated],
      failed: [shop.fulfillmentFailed],
    },
    events: [shop.orderShipped, shop.orderActivated, shop.fulfillmentFailed],
  },
];

/** Of a review there is one outcome at most. */
const outcomes = [shop.reviewApproved, shop.reviewRejected, shop.reviewExpired] as const;

/** How often something was said about each id. */
type Counts = Map<string, { readonly length: number }>;

/** Answers of the participants, by subject: nothing that was taken for one can be missing. */
const answers: ReadonlyMap<string, shop.Contract> = new Map(
  [...participants.flatMap(({ events }) => events), shop.orderCleared, shop.orderFlagged, ...outcomes].map(
    (contract) => [contract.subject, contract] as const,
  ),
);

/**
 * I4: effects of an order that has ended, each once and those that fit its end; and whatever its history has as a `cause`
 * was said. Reads everything once.
 */
export function effectChecker(
  ledgers: Ledgers,
): (id: string, end: "completed" | "cancelled", causes: readonly string[]) => string[] {
  const counts = new Map<shop.Contract, Counts>();
  const times = (contract: shop.Contract, id: string): number => {
    const known = counts.get(contract) ?? said(ledgers, contract);
    counts.set(contract, known);
    return known.get(id)?.length ?? 0;
  };
  const states = participants.map(({ state }) => state && said(ledgers, state));
  return (id, end, causes) => {
    const faults: string[] = [];
    const exactly = (contract: shop.Contract, wanted: number) => {
      const found = times(contract, id);
      if (found !== wanted) faults.push(`${found} × ${contract.subject}, not ${wanted}`);
    };
    exactly(shop.orderCreated, 1);
    exactly(shop.checkoutCompleted, end === "completed" ? 1 : 0);
    exactly(shop.checkoutCancelled, end === "cancelled" ? 1 : 0);
    for (const [index, participant] of participants.entries()) {
      const last = states[index]?.get(id)?.at(-1)?.value as { status?: string } | undefined;
      const told = Object.entries(participant.said).flatMap(([status, contracts]) =>
        contracts.some((contract) => times(contract, id) > 0) ? [status] : [],
      );
      const status = participant.state === undefined ? told[0] : last?.status;
      if (participant.state === undefined && told.length > 1) faults.push(`it is both ${told.join(" and ")}`);
      if (!participant.fits[end].includes(status))
        faults.push(`its ${participant.state?.subject ?? "outcome of fulfilment"} is ${status}`);
      const belong = participant.said[status ?? ""] ?? [];
      for (const contract of belong) exactly(contract, 1);
      for (const contract of participant.events) if (times(contract, id) > 1) exactly(contract, 1);
    }
    for (const contract of causes.flatMap((cause) => answers.get(cause) ?? [])) exactly(contract, 1);
    const reviewed = outcomes.reduce((sum, contract) => sum + times(contract, id), 0);
    if (reviewed > 1) faults.push(`${reviewed} outcomes of one review`);
    for (const kind of ["order_received", `order_${end}`]) {
      const mails = times(shop.mail, `${id}.${kind}`);
      if (mails !== 1) faults.push(`${mails} mails ${kind} are recorded`);
    }
    return [...new Set(faults)];
  };
}
