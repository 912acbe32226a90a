import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalogue } from "./catalogue.ts";
import { breakAndAudit, runFault } from "./runner.ts";
import { openWorld, type World } from "./world.ts";

// The short form of `npm run faults`: a handful of its tests, once, with few orders, one after the other in one shop, so
// that each audit is also one of what the earlier faults have left behind.

const handful = [
  "poison",
  "batch_atomicity",
  "redelivery_storm",
  "commit_unknown",
  "kill_each_point",
] as const;
const FAULT_MS = 120_000;

let world: World;
beforeAll(async () => {
  world = await openWorld({ linked: true });
});
afterAll(() => world[Symbol.asyncDispose]());

function find(name: string, nodes: 1 | 3 = 1) {
  const fault = catalogue[nodes].find((other) => other.name === name);
  if (fault === undefined) throw new RangeError(`There is no fault "${name}"`);
  return fault;
}

describe("a shop on one server", () => {
  it.each(handful)("holds under %s", { timeout: FAULT_MS }, async (name) => {
    const { violations, orders } = await breakAndAudit(world, find(name), { orders: 20, rounds: 1 });
    expect(violations).toEqual([]);
    expect(orders).toBeGreaterThanOrEqual(20);
  });
});

describe("a shop on three servers", () => {
  it("loses nothing when the leader of its ledgers is killed", { timeout: FAULT_MS }, async () => {
    const { violations, tally } = await runFault(find("leader_kill", 3), { orders: 20, rounds: 1 });
    expect(violations).toEqual([]);
    expect(tally.kills).toBe(1);
  });
});

describe("the catalogue", () => {
  it("has one test of each name", () => {
    const names = [...catalogue[1], ...catalogue[3]].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});
