import type { SchemaStore } from "../../nats/mod.ts";
import type { Compiler } from "./compiler.ts";
import type { Mirror } from "./mirror.ts";

/** What the routes work with. */
export interface Registry {
  readonly store: SchemaStore;
  readonly mirror: Mirror;
  readonly compiler: Compiler;
}
