import { setTimeout as sleep } from "node:timers/promises";
import { orUnavailable, until } from "../support/mod.ts";
import type { Extent, Fault } from "./fault.ts";
import { place, underLoad } from "./load.ts";
import { kinds } from "./orders.ts";
import { compareReplicas } from "./replicas.ts";
import type { World } from "./world.ts";

/** A shop that loses one node of three takes orders again, and completes them, within this. */
const RESUME_MS = 30_000;
/** Longer than it takes the others to elect a leader, which they do after 4 to 9 s without a word. */
const PAUSE_MS = 15_000;
/** Whose leader is hit, in turn: the ledgers in the order in which an order meets them, and who leads the cluster itself. */
const targets = ["CHECKOUT", "meta", "ORDER", "PAYMENT", "INVENTORY", "FRAUD", "FULFILLMENT"];

function nodesOf({ nodes }: World) {
  if (nodes === undefined) throw new RangeError("Cannot hit a node: the shop runs its own server");
  return nodes;
}

/** The node that leads a stream, or the cluster's own state. */
async function leaderOf({ streams, nodes }: World, target: string): Promise<string> {
  return until(
    `${target} to have a leader`,
    async () => {
      if (target === "meta") return nodes?.metaLeader();
      return (await orUnavailable(streams.jsm.streams.info(target)))?.cluster?.leader;
    },
    { timeoutMs: RESUME_MS },
  );
}

/** Places one order and waits for its end. @returns A line if that took too long. */
async function resumes(world: World, what: string): Promise<string[]> {
  const since = performance.now();
  const [standard] = kinds;
  if (standard === undefined) throw new RangeError("There is no order to try it with");
  const { id } = await place(world, standard);
  await world.shop.ends(id);
  const tookMs = performance.now() - since;
  world.tally.resumedMs = Math.max(world.tally.resumedMs, tookMs);
  const seconds = (tookMs / 1_000).toFixed(1);
  return tookMs <= RESUME_MS ? [] : [`${what}: it took ${seconds} s until an order was completed`];
}

/** Hits a leader again and again under load, and has it back in between. */
function againstLeaders(
  fault: Pick<Fault, "name" | "does" | "passes">,
  hit: (world: World, leader: string) => Promise<{ undo: () => Promise<void> }>,
): Fault {
  return {
    ...fault,
    world: { nodes: { count: 3 } },
    async run(world: World, extent: Extent) {
      const late: string[] = [];
      await underLoad(world, extent, async () => {
        for (let round = 0; round < extent.rounds; round++) {
          const target = targets[round % targets.length] as string;
          const leader = await leaderOf(world, target);
          const { undo } = await hit(world, leader);
          late.push(...(await resumes(world, `without ${leader}, which led ${target}`)));
          await undo();
          await nodesOf(world).healthy();
        }
      });
      return late;
    },
  };
}

const leaderKill = againstLeaders(
  {
    name: "leader_kill",
    does: "SIGKILL of the node that leads a ledger or the cluster; it comes back once the shop has completed an order without it",
    passes: `an order is placed and completed within ${RESUME_MS / 1_000} s each time; no acknowledged order is lost; every node has the same on its disk in the end`,
  },
  async (world, leader) => {
    world.tally.kills += 1;
    await nodesOf(world).kill(leader);
    return { undo: () => nodesOf(world).start(leader) };
  },
);

const leaderPause = againstLeaders(
  {
    name: "leader_pause",
    does: `SIGSTOP of the node that leads a ledger or the cluster, for ${PAUSE_MS / 1_000} s at least: it wakes up as a leader that the others have replaced`,
    passes: `an order is placed and completed within ${RESUME_MS / 1_000} s each time; what the old leader says after it wakes up counts for nothing`,
  },
  async (world, leader) => {
    world.tally.pauses += 1;
    const nodes = nodesOf(world);
    const since = performance.now();
    nodes.signal(leader, "SIGSTOP");
    return {
      async undo() {
        await sleep(Math.max(0, PAUSE_MS - (performance.now() - since)));
        nodes.signal(leader, "SIGCONT");
      },
    };
  },
);

const quorumLoss: Fault = {
  name: "quorum_loss",
  does: "SIGKILL of two nodes, and then of all three, all at once",
  passes: `orders are completed again within ${RESUME_MS / 1_000} s of the nodes' return`,
  world: { nodes: { count: 3 } },
  async run(world, extent) {
    const nodes = nodesOf(world);
    const late: string[] = [];
    await underLoad(world, extent, async () => {
      for (const lost of [nodes.names.slice(1), nodes.names]) {
        await sleep(1_000);
        world.tally.kills += lost.length;
        await Promise.all(lost.map((name) => nodes.kill(name)));
        await sleep(2_000);
        await Promise.all(lost.map((name) => nodes.start(name)));
        late.push(...(await resumes(world, `after the return of ${lost.join(", ")}`)));
        await nodes.healthy();
      }
    });
    return late;
  },
};

export const clusterFaults: readonly Fault[] = [leaderKill, leaderPause, quorumLoss];

/** To be asked when a world of three nodes is at rest; its servers are down after that. */
export async function replicaFaults(world: World): Promise<string[]> {
  if (world.nodes === undefined || world.nodes.names.length < 3) return [];
  await world.nodes.healthy();
  // Nobody writes any more, so that all three can be compared.
  await world.shop.shop.shutdown();
  return compareReplicas(world.nodes);
}
