import { join } from "node:path";
import type { Service } from "../../services/mod.ts";
import { projectFolder } from "../nats_server.mjs";

/** Two services that do nothing, to be run in place of the shop's; `root` is their project's folder. */
export const root = join(projectFolder, "tools", "testdata");

export const services: readonly Service[] = [
  { name: "alpha", port: 20_101, portVariable: "ALPHA_PORT", writes: ["notes"] },
  { name: "beta", port: 20_102, portVariable: "BETA_PORT", writes: [] },
];
