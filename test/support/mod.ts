export * from "./audit/mod.ts";
export * from "./nats.ts";
export * from "./ports.ts";
export * from "./proxy.ts";
export * from "./shop.ts";
export * from "./streams.ts";
export * from "./until.ts";
export * from "./view.ts";
