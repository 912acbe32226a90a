import { expect, test } from "vitest";
import { nodeArguments, services } from "../services/mod.ts";
import { nodeFlags } from "./node_flags.ts";

test("nodeFlags are those that the shop's services run with: V8's, and no others", () => {
  const others = /^--(disable-warning|permission|allow-)/;
  for (const service of services) {
    const flags = nodeArguments(service, { root: "/shop", dataDir: "/data" }).filter(
      (argument) => argument.startsWith("--") && !others.test(argument),
    );
    expect(flags).toEqual(nodeFlags);
  }
});
