/**
 * What `state` of a `checkout.state` can be, in the order in which orders get there. The coordinator's table says what they mean;
 * tests hold this to it.
 */
export const orderStates = [
  "created",
  "reserving",
  "screening",
  "in_review",
  "charging",
  "fulfilling",
  "completed",
  "releasing",
  "refunding",
  "cancelled",
] as const;
