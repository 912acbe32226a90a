import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { connect, millis } from "@nats-io/transport-node";
import { accessOptions, consumerConfig, topology, workingConsumers } from "../../nats/mod.ts";
import { credentialsFolder } from "../../tools/data_dir.ts";
import { openShop, until } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { underLoad } from "./load.ts";
import { environment } from "./orders.ts";
import { points } from "./points.ts";
import { setAckWait, type World } from "./world.ts";

/** So short that what is slow, or was lost on the way, comes again while the first delivery is still worked on. */
const SHORT_ACK_WAIT_MS = 300;
const STORM_MS = 5_000;

/** Takes every consumer away, and makes it anew: it begins with the first message of its stream. */
async function resetConsumers({ streams }: World): Promise<void> {
  for (const spec of topology.consumers) {
    const { config } = await streams.jsm.consumers.info(spec.stream, spec.service);
    await streams.jsm.consumers.delete(spec.stream, spec.service);
    await streams.jsm.consumers.add(spec.stream, {
      ...consumerConfig(spec),
      ...(config.ack_wait && { ack_wait: config.ack_wait }),
    });
  }
}

const redeliveryStorm: Fault = {
  name: "redelivery_storm",
  does: `ack_wait is ${SHORT_ACK_WAIT_MS} ms, and every second acknowledgement is lost`,
  passes: "no effect is doubled, and the backlog drains",
  world: { linked: true },
  async run(world, extent) {
    let redelivered = 0;
    await underLoad(world, extent, async () => {
      const [any] = topology.consumers;
      if (any === undefined) throw new RangeError("There is no consumer");
      const { config } = await world.streams.jsm.consumers.info(any.stream, any.service);
      await setAckWait(world.streams, SHORT_ACK_WAIT_MS);
      for (const link of world.links.values()) {
        let acks = 0;
        link.judge((message) =>
          points["before it acknowledges"](message) && acks++ % 2 === 0 ? "drop" : "pass",
        );
      }
      const before = [...world.links.values()].reduce((sum, link) => sum + link.touched, 0);
      await sleep(STORM_MS * extent.rounds);
      const infos = await Promise.all(
        topology.consumers.map(({ stream, service }) => world.streams.jsm.consumers.info(stream, service)),
      );
      redelivered = infos.reduce((sum, info) => sum + info.num_redelivered, 0);
      world.tally.network += [...world.links.values()].reduce((sum, link) => sum + link.touched, 0) - before;
      for (const link of world.links.values()) link.release();
      await setAckWait(world.streams, millis(config.ack_wait ?? 0));
    });
    return redelivered > 0 ? [] : ["nothing was redelivered"];
  },
};

const consumerReset: Fault = {
  name: "consumer_reset",
  does: "every consumer is deleted and made anew, under load and once more when all is quiet: it starts from the first message",
  passes: "the replay of a quiet shop writes nothing",
  world: {},
  async run(world, extent) {
    await underLoad(world, extent, async () => {
      for (let round = 0; round < extent.rounds; round++) {
        await sleep(1_500);
        await resetConsumers(world);
      }
    });
    const { streams, accepted, shop } = world;
    await Promise.all(accepted.map(({ id }) => shop.ends(id)));
    await streams.quiet();
    const before = await streams.lastSequences();
    await resetConsumers(world);
    await streams.quiet();
    const after = await streams.lastSequences();
    return Object.keys(after)
      .filter((stream) => after[stream] !== before[stream])
      .map((stream) => `the replay wrote to ${stream}: ${before[stream]} → ${after[stream]}`);
  },
};

const poison: Fault = {
  name: "poison",
  does: "a message that cannot be decoded is put in front of every consumer",
  passes:
    "each but the hints is parked once by each consumer that gets it, also when all is replayed, and everything else goes on",
  world: {},
  async run(world, extent) {
    const { streams, ignored, shop } = world;
    await using stack = new AsyncDisposableStack();
    const connection = await connect({ ...accessOptions(shop.shop.operator), name: "poison" });
    stack.defer(() => connection.close());
    const js = jetstream(connection);
    const before = world.deadLetters;
    await underLoad(world, extent, async () => {
      const consumers = workingConsumers();
      const contracts = new Set(consumers.flatMap((spec) => spec.contracts));
      for (const contract of contracts) {
        const id = `poison_${before}`;
        ignored.add(id);
        await js.publish(`${contract.subject}.${id}`, new Uint8Array([255, 255, 255]));
        // A hint is let go.
        if (contract.hint) continue;
        world.deadLetters += consumers.filter((spec) => spec.contracts.includes(contract)).length;
      }
    });
    await until(
      "everything poisonous to be parked",
      async () => (await streams.lastSequences()).DEAD_LETTER === world.deadLetters,
    );
    await resetConsumers(world);
    await streams.quiet();
    const parked = (await streams.lastSequences()).DEAD_LETTER;
    return parked === world.deadLetters ? [] : [`${parked} were parked, not ${world.deadLetters}`];
  },
};

const race: Fault = {
  name: "race",
  does: "two of every service at once, which race for the same items; one of each pair is killed in the middle",
  passes: "no update is lost, and of the last one exactly one is sold",
  world: {},
  async run(world, extent) {
    const { shop, orderUrls, tally } = world;
    const other = world.stack.use(
      await openShop(environment, {
        servers: shop.shop.natsUrl,
        credentials: credentialsFolder(shop.folder),
      }),
    );
    world.mailFolders.push(join(other.folder, "mail"));
    orderUrls.push(other.shop.url("order"));
    const lastOne = {
      name: "the last one",
      changes: { lines: [{ sku: "last-one", quantity: 1 }] },
      ends: ["completed", "out_of_stock"],
    };
    await underLoad(world, { orders: 10, kinds: [lastOne] }, async () => undefined);
    await underLoad(world, extent, async () => {
      for (const name of ["coordinator", "inventory", "payment", "fulfillment"]) {
        tally.kills += 1;
        await other.shop.kill(name);
        await sleep(500);
      }
    });
    return [];
  },
};

export const consumerFaults: readonly Fault[] = [race, redeliveryStorm, consumerReset, poison];
