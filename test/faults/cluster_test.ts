import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { seedFile } from "../../nats/mod.ts";
import { projectFolder } from "../../tools/nats_server.mjs";
import { faultOf } from "./catalogue.ts";
import { startNodes } from "./nodes.ts";
import { runFault } from "./runner.ts";

// The short form of `npm run faults -- --nodes 3`.

const FAULT_MS = 120_000;
const run = promisify(execFile);

describe("three servers", () => {
  it("get their streams by REPLICAS=3 npm run topology, once", { timeout: FAULT_MS }, async () => {
    await using nodes = await startNodes({ count: 3 });
    const topology = () =>
      run(process.execPath, ["nats/main.ts"], {
        cwd: projectFolder,
        env: {
          NATS_URL: nodes.servers,
          NATS_NKEY_FILE: seedFile(nodes.credentials, "operator"),
          REPLICAS: "3",
        },
      });
    expect((await topology()).stdout).toContain("+ stream CHECKOUT");
    expect((await topology()).stdout).toBe("Nothing differs\n");
  });

  it("lose nothing when the leader of a ledger is killed", { timeout: FAULT_MS }, async () => {
    const { violations, tally } = await runFault(faultOf("leader_kill", 3), { orders: 20, rounds: 1 });
    expect(violations).toEqual([]);
    expect(tally.kills).toBe(1);
  });
});
