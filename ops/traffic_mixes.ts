import { type OrderKind, type OrderKindName, orderKinds } from "../tools/order_kinds.ts";

/** How often each kind of order comes, against the others. */
export type Mix = Readonly<Partial<Record<OrderKindName, number>>>;

/** By name, as `--mix` takes it. */
export const mixes = {
  /** Every ending, the happy one most often: what a shop looks like. */
  default: {
    standard: 50,
    twoLines: 10,
    trial: 8,
    flaky: 8,
    declined: 6,
    soldOut: 4,
    broken: 4,
    cancelled: 3,
    approved: 2,
    slow: 2,
    lastOne: 1,
    rejected: 1,
    inReview: 1,
  },
  /** All complete. */
  smooth: { standard: 8, twoLines: 1, trial: 1 },
  /** None completes: each undoes what was done. */
  trouble: { declined: 1, soldOut: 1, broken: 1, rejected: 1, slow: 1 },
  /** All wait for a person: a third are approved, a third are rejected, a third are left to you. */
  reviews: { approved: 1, rejected: 1, inReview: 1 },
} as const satisfies Record<string, Mix>;

export type MixName = keyof typeof mixes;
export const mixNames = Object.keys(mixes) as MixName[];

/**
 * The orders of a mix, one after the other and the same each time: first one of each kind, so that a short run has every ending,
 * then each as often as its weight says, spread evenly.
 */
export function* ordersOf(mix: Mix): Generator<OrderKind, never> {
  const weighted = Object.entries(mix).map(([name, weight]) => {
    return { kind: orderKinds[name as OrderKindName], weight, credit: 0 };
  });
  for (const { kind } of weighted) yield kind;
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
  for (;;) {
    for (const entry of weighted) entry.credit += entry.weight;
    const next = weighted.reduce((most, entry) => (entry.credit > most.credit ? entry : most));
    next.credit -= total;
    yield next.kind;
  }
}
