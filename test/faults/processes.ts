import { setTimeout as sleep } from "node:timers/promises";
import { consumerConfig, topology } from "../../nats/mod.ts";
import { shopServices } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { underLoad } from "./load.ts";
import { commits, inBatch, type Point, points, strikeAt } from "./points.ts";
import type { World } from "./world.ts";

const names = shopServices.map(({ name }) => name);
/** Those that decide, and have a ledger to write it to. */
export const deciders = topology.streams.flatMap(({ owner }) => (owner === undefined ? [] : [owner]));

/** Longer than a message that was delivered to a process waits for its acknowledgement. */
const pauseMs =
  Math.max(...topology.consumers.map((spec) => (consumerConfig(spec).ack_wait ?? 0) / 1e6)) * 1.2;
/** Longer than two pings without an answer, after which a client gives its connection up. */
const serverPauseMs = 22_000;

/**
 * What a service never does, or only when it happens to decide several things at once: the order service handles nothing
 * while orders go by, and an order, what becomes of its fulfilment, and a mail are one message each.
 */
const unreachable: Readonly<Record<string, readonly Point[]>> = {
  order: ["before it decides", "in the middle of a batch", "before it acknowledges"],
  fulfillment: ["in the middle of a batch"],
  notification: ["in the middle of a batch"],
};

async function kill({ shop, tally }: World, name: string): Promise<void> {
  tally.kills += 1;
  await shop.shop.kill(name);
}

const killEachPoint: Fault = {
  name: "kill_each_point",
  does: "SIGKILL of each service before it decides, in the middle of a batch, before it learns of its commit, and before it acknowledges, one after the other; then of each at any moment",
  passes: "the ends are those of a run without faults",
  world: { linked: true },
  async run(world, extent) {
    const missed: string[] = [];
    await underLoad(world, extent, async () => {
      const all = Object.keys(points) as Point[];
      // Each service at each of its points, and in the short form at one of them.
      const turns = extent.rounds === 1 ? 1 : all.length;
      for (let round = 0; round < turns; round++) {
        for (const [index, name] of deciders.entries()) {
          const reachable = all.filter((point) => !unreachable[name]?.includes(point));
          const point = reachable[(round + index) % reachable.length] as Point;
          const link = world.links.get(name);
          if (link === undefined) throw new RangeError(`Cannot strike ${name}: it is not linked`);
          const reached = await strikeAt(link, points[point], () => void kill(world, name));
          link.release();
          if (!reached) missed.push(`${name} was never seen ${point}`);
          await world.shop.shop.ready(name);
        }
      }
      for (let round = 1; round < extent.rounds; round++) {
        for (const name of names) {
          await sleep(Math.random() * 500);
          await kill(world, name);
          await world.shop.shop.ready(name);
        }
      }
    });
    return missed;
  },
};

const pauses: Fault = {
  name: "pauses",
  does: `SIGSTOP of each service for ${pauseMs / 1_000} s, longer than ack_wait, several at a time; then of nats-server for ${serverPauseMs / 1_000} s, longer than two pings`,
  passes: "what was redelivered meanwhile is not done twice by the one that wakes up",
  world: {},
  async run(world, extent) {
    const { shop, tally } = world;
    const pause = async (name: string, ms: number) => {
      tally.pauses += 1;
      await shop.shop.kill(name, "SIGSTOP");
      await sleep(ms);
      await shop.shop.kill(name, "SIGCONT");
    };
    await underLoad(world, extent, async () => {
      await Promise.all(names.map((name, index) => sleep(index * 2_000).then(() => pause(name, pauseMs))));
      await pause("nats-server", serverPauseMs);
    });
    return [];
  },
};

const serverRestart: Fault = {
  name: "server_restart",
  does: "SIGKILL of nats-server again and again",
  passes: "every acknowledged order ends",
  world: {},
  async run(world, extent) {
    await underLoad(world, extent, async () => {
      for (let round = 0; round < extent.rounds * 2; round++) {
        await sleep(1_000 + Math.random() * 1_000);
        await kill(world, "nats-server");
        await world.shop.shop.ready("nats-server");
      }
    });
    return [];
  },
};

const blackout: Fault = {
  name: "blackout",
  does: "SIGKILL of everything at once: nats-server and all services",
  passes: "every acknowledged order ends",
  world: {},
  async run(world, extent) {
    const everything = ["nats-server", ...names];
    await underLoad(world, extent, async () => {
      for (let round = 0; round < extent.rounds; round++) {
        await sleep(1_500);
        await Promise.all(everything.map((name) => kill(world, name)));
        await Promise.all(everything.map((name) => world.shop.shop.ready(name)));
      }
    });
    return [];
  },
};

const batchAtomicity: Fault = {
  name: "batch_atomicity",
  does: "SIGKILL of nats-server while a batch is on its way: after its first message, or right after the one that commits it",
  passes:
    "every batch in every ledger is all there, from its first message to its commit, or not at all; state and events agree",
  world: { linked: true },
  async run(world, extent) {
    const missed: string[] = [];
    const writers = deciders.filter((name) => !unreachable[name]?.includes("in the middle of a batch"));
    await underLoad(world, extent, async () => {
      for (let round = 0; round < extent.rounds * 2; round++) {
        const name = writers[round % writers.length] as string;
        const committing = round % 2 === 1;
        const link = world.links.get(name);
        if (link === undefined) throw new RangeError(`Cannot watch ${name}: it is not linked`);
        const struck = Promise.withResolvers<void>();
        let over = false;
        link.judge(({ from, text }) => {
          if (over) return "drop";
          if (from !== "client" || !inBatch(text) || commits(text) !== committing) return "pass";
          over = true;
          // This message still gets through; the server has it, or has it not, when it dies.
          setTimeout(() => void kill(world, "nats-server").then(struck.resolve), Math.random() * 4);
          return "pass";
        });
        const reached = await Promise.race([
          struck.promise.then(() => true),
          sleep(15_000, false, { ref: false }),
        ]);
        link.release();
        if (!reached) missed.push(`no batch of ${name} passed by`);
        await world.shop.shop.ready("nats-server");
        await sleep(500);
      }
    });
    return missed;
  },
};

export const processFaults: readonly Fault[] = [
  killEachPoint,
  pauses,
  serverRestart,
  blackout,
  batchAtomicity,
];
