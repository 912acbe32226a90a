import { exampleOrder } from "./example_order.ts";

/** An order of the sandbox, and how it ends whatever happens on the way. */
export interface OrderKind {
  readonly name: string;
  /** What differs from the example order. */
  readonly changes: Readonly<Record<string, unknown>>;
  /** `completed`, or the reason of the cancellation; several if it is a race by nature. None: it waits for a person. */
  readonly ends: readonly string[];
  /** Whether the customer has second thoughts at once. */
  readonly cancels?: boolean;
  /** What a reviewer decides about it. Default: nobody does. */
  readonly review?: "approve" | "reject";
}

/** An address that the sandbox's fraud rules flag. */
export const flaggedAddress = { ...exampleOrder.shipping_address, line1: "1 Freight Forwarding Way" };

const customer = (id: string, plan = "standard") => ({ ...exampleOrder.customer, id, plan });
const flagged = { shipping_address: flaggedAddress };
const lines = (...skus: [sku: string, quantity: number][]) => ({
  lines: skus.map(([sku, quantity]) => ({ sku, quantity })),
});

/** Every ending of the sandbox: the README's table of them, and what a customer and a reviewer may do besides. */
export const orderKinds = {
  standard: { name: "standard", changes: {}, ends: ["completed"] },
  twoLines: {
    name: "two lines",
    changes: { ...lines(["mug", 3], ["desk", 1]), shipping_priority: "express" },
    ends: ["completed"],
  },
  trial: { name: "trial", changes: { customer: customer("cus_trial", "trial") }, ends: ["completed"] },
  flaky: { name: "flaky provider", changes: { payment_token: "tok_flaky" }, ends: ["completed"] },
  declined: { name: "declined", changes: { payment_token: "tok_declined" }, ends: ["payment_declined"] },
  slow: { name: "slow provider", changes: { payment_token: "tok_slow" }, ends: ["timed_out"] },
  soldOut: { name: "sold out", changes: lines(["sold-out", 1]), ends: ["out_of_stock"] },
  lastOne: { name: "last one", changes: lines(["last-one", 1]), ends: ["completed", "out_of_stock"] },
  broken: { name: "broken", changes: lines(["broken", 1]), ends: ["fulfillment_failed"] },
  cancelled: { name: "cancelled", changes: {}, ends: ["customer_request", "completed"], cancels: true },
  approved: { name: "review approved", changes: flagged, ends: ["completed"], review: "approve" },
  rejected: { name: "review rejected", changes: flagged, ends: ["review_rejected"], review: "reject" },
  inReview: { name: "review left to you", changes: flagged, ends: [] },
} as const satisfies Record<string, OrderKind>;

export type OrderKindName = keyof typeof orderKinds;
