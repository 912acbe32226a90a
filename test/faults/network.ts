import { setTimeout as sleep } from "node:timers/promises";
import type { Fault } from "./fault.ts";
import { underLoad } from "./load.ts";
import { isCommitAnswer, points } from "./points.ts";
import { deciders } from "./processes.ts";
import type { World } from "./world.ts";

/** How long a network is bad in each round. */
const SPELL_MS = 8_000;
/** After so long it is said to be bad without effect. */
const GIVE_UP_MS = 60_000;

function* linksOf(world: World) {
  for (const [name, link] of world.links) yield { name, link };
}

/** Lets every connection be good again, and counts what was done to its messages. */
function mend(world: World, before: number): void {
  for (const { link } of linksOf(world)) link.release();
  world.tally.network += touched(world) - before;
}

function touched(world: World): number {
  return [...world.links.values()].reduce((sum, link) => sum + link.touched, 0);
}

const commitUnknown: Fault = {
  name: "commit_unknown",
  does: "of every service with a ledger, answers to commits are dropped on the way: it is stored, and the service does not know",
  passes: "one commit per decision",
  world: { linked: true },
  async run(world, extent) {
    const { rounds } = extent;
    const lost = new Map<string, number>();
    await underLoad(world, extent, async () => {
      const before = touched(world);
      const enough: Promise<void>[] = [];
      for (const { name, link } of linksOf(world)) {
        if (!deciders.includes(name)) continue;
        const done = Promise.withResolvers<void>();
        enough.push(done.promise);
        let answers = 0;
        link.judge((message) => {
          if (!isCommitAnswer(message)) return "pass";
          answers += 1;
          // The first few, and then now and then: also the answer to the second try may be lost.
          const drop = (lost.get(name) ?? 0) < rounds && (answers <= 2 || answers % 5 === 0);
          if (drop) lost.set(name, (lost.get(name) ?? 0) + 1);
          if ((lost.get(name) ?? 0) >= rounds) done.resolve();
          return drop ? "drop" : "pass";
        });
      }
      await Promise.race([Promise.all(enough), sleep(GIVE_UP_MS, undefined, { ref: false })]);
      mend(world, before);
    });
    return [...world.links.keys()].flatMap((name) =>
      !deciders.includes(name) || (lost.get(name) ?? 0) > 0
        ? []
        : [`no answer to a commit of ${name} was lost`],
    );
  },
};

const slowNetwork: Fault = {
  name: "slow_network",
  does: "every message between a service and the server takes 20 to 120 ms more, and one connection after the other is cut",
  passes: "what was under way when a connection broke is neither lost nor done twice",
  world: { linked: true },
  async run(world, extent) {
    await underLoad(world, extent, async () => {
      for (const { link } of linksOf(world)) link.slow(() => 20 + Math.random() * 100);
      for (let round = 0; round < extent.rounds; round++) {
        for (const { link } of linksOf(world)) {
          await sleep(SPELL_MS / world.links.size);
          link.cut();
          world.tally.network += 1;
        }
      }
      for (const { link } of linksOf(world)) link.release();
    });
    return [];
  },
};

const outOfOrder: Fault = {
  name: "out_of_order",
  does: "every third delivery to a service is held back, and arrives after those that were sent later",
  passes: "the ends are those of a run without faults",
  world: { linked: true },
  async run(world, extent) {
    await underLoad(world, extent, async () => {
      const before = touched(world);
      for (let spell = 0; spell < extent.rounds * 8; spell++) {
        for (const { link } of linksOf(world)) {
          let deliveries = 0;
          link.judge((message) =>
            points["before it decides"](message) && deliveries++ % 3 === 0 ? "hold" : "pass",
          );
        }
        await sleep(SPELL_MS / 8);
        for (const { link } of linksOf(world)) link.release();
      }
      mend(world, before);
    });
    return [];
  },
};

const deafServer: Fault = {
  name: "unreachable",
  does: "one service after the other cannot reach the server: every connection it tries breaks in the handshake",
  passes: "it comes back by itself, and catches up",
  world: { linked: true },
  async run(world, extent) {
    await underLoad(world, extent, async () => {
      for (let round = 0; round < extent.rounds; round++) {
        for (const { link } of linksOf(world)) {
          link.refuse();
          world.tally.network += 1;
          await sleep(SPELL_MS / world.links.size);
          link.release();
        }
      }
    });
    return [];
  },
};

export const networkFaults: readonly Fault[] = [commitUnknown, slowNetwork, outOfOrder, deafServer];
