import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalogue, faultOf } from "./catalogue.ts";
import { breakAndAudit } from "./runner.ts";
import { openWorld, type World } from "./world.ts";

// The short form of `npm run faults`: a handful of its tests, once, with few orders, one after the other in one shop, so
// that each audit is also one of what the earlier faults have left behind.

const handful = [
  "poison",
  "batch_atomicity",
  "half_batch",
  "redelivery_storm",
  "commit_unknown",
  "kill_each_point",
] as const;
const FAULT_MS = 120_000;
/** Shorter than in the whole run, where most of the time is waiting for what a process that was killed had in hand. */
const ACK_WAIT_MS = 2_000;

let world: World;
beforeAll(async () => {
  world = await openWorld({ linked: true, ackWaitMs: ACK_WAIT_MS });
});
afterAll(() => world[Symbol.asyncDispose]());

describe("a shop on one server", () => {
  it.each(handful)("holds under %s", { timeout: FAULT_MS }, async (name) => {
    const { violations, orders } = await breakAndAudit(world, faultOf(name, 1), { orders: 20, rounds: 1 });
    expect(violations).toEqual([]);
    expect(orders).toBeGreaterThanOrEqual(20);
  });
});

describe("the catalogue", () => {
  it("has one test of each name", () => {
    const names = [...catalogue[1], ...catalogue[3]].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});
