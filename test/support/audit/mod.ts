export * from "./audit.ts";
export * from "./batches.ts";
export * from "./counted.ts";
export * from "./ledgers.ts";
export * from "./shop.ts";
