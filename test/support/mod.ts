export * from "./nats.ts";
export * from "./ports.ts";
export * from "./until.ts";
export * from "./view.ts";
