import { exampleOrder, flaggedAddress } from "../support/mod.ts";

/** An order that a customer places, and how it ends whatever happens on the way. */
export interface Kind {
  readonly name: string;
  /** What differs from the example order. */
  readonly changes: Record<string, unknown>;
  /** `completed`, or the reason of the cancellation; several if it is a race by nature. */
  readonly ends: readonly string[];
  /** Whether the customer changes his mind at once. */
  readonly cancels?: boolean;
}

const customer = (id: string, plan = "standard") => ({ ...exampleOrder.customer, id, plan });

/** Every branch of the checkout. They come in turn. */
export const kinds: readonly Kind[] = [
  { name: "standard", changes: {}, ends: ["completed"] },
  {
    name: "two lines",
    changes: {
      lines: [
        { sku: "mug", quantity: 3 },
        { sku: "desk", quantity: 1 },
      ],
      shipping_priority: "express",
    },
    ends: ["completed"],
  },
  { name: "trial", changes: { customer: customer("cus_trial", "trial") }, ends: ["completed"] },
  { name: "sold out", changes: { lines: [{ sku: "sold-out", quantity: 1 }] }, ends: ["out_of_stock"] },
  { name: "standard again", changes: {}, ends: ["completed"] },
  { name: "declined", changes: { payment_token: "tok_declined" }, ends: ["payment_declined"] },
  { name: "broken", changes: { lines: [{ sku: "broken", quantity: 2 }] }, ends: ["fulfillment_failed"] },
  { name: "flaky provider", changes: { payment_token: "tok_flaky" }, ends: ["completed"] },
  { name: "cancelled", changes: {}, ends: ["customer_request", "completed"], cancels: true },
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
