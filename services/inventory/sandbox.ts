import type { StockChange } from "./decide.ts";

/** What the sandbox sells. `broken` can be bought and paid for, and then fulfilment of it fails. */
export const sandboxItems: Readonly<Record<string, StockChange>> = {
  mug: { unitPriceCents: 1_200, available: 1_000_000 },
  desk: { unitPriceCents: 24_900, available: 1_000 },
  "last-one": { unitPriceCents: 9_900, available: 1 },
  "sold-out": { unitPriceCents: 500, available: 0 },
  broken: { unitPriceCents: 700, available: 1_000 },
};
