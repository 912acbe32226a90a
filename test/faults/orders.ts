import { flaggedAddress, type OrderKind, orderKinds } from "../../tools/order_kinds.ts";

/** An order that a customer places, and how it ends whatever happens on the way. */
export type Kind = OrderKind;

/** Every branch of the checkout. They come in turn. */
export const kinds: readonly Kind[] = [
  orderKinds.standard,
  orderKinds.twoLines,
  orderKinds.trial,
  orderKinds.soldOut,
  { ...orderKinds.standard, name: "standard again" },
  orderKinds.declined,
  orderKinds.broken,
  orderKinds.flaky,
  orderKinds.cancelled,
  { name: "not reviewed", changes: { shipping_address: flaggedAddress }, ends: ["review_expired"] },
];

/** What the sandbox has on its shelves before the first order. */
export const stock: Readonly<Record<string, number>> = {
  mug: 1_000_000,
  desk: 1_000,
  "last-one": 1,
  "sold-out": 0,
  broken: 1_000,
};

/**
 * What every service reads in these tests. Deadlines after which a participant is asked again are short, so that
 * commands come twice; the one after which an order is given up is long, so that each order ends as it would without
 * faults and that can be checked.
 */
export const environment: Readonly<Record<string, string>> = {
  CHARGING_DEADLINE_MS: "600000",
  FULFILLING_DEADLINE_MS: "4000",
  REFUNDING_DEADLINE_MS: "4000",
  RELEASING_DEADLINE_MS: "4000",
  SWEEP_EVERY_MS: "3000",
  REVIEW_TTL_MS: "2000",
};
