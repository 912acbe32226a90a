// What a schema is, whatever it is stored in: compiling, printing, naming and comparing. Knows nothing of NATS.
export * from "./canonical.ts";
export * from "./compatibility/mod.ts";
export * from "./compile.ts";
export * from "./files.ts";
export * from "./print.ts";
