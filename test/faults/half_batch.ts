import { join } from "node:path";
import { shopServices } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { stopInHalfBatch } from "./half_batch_watch.ts";
import { underLoad } from "./load.ts";

/** Ledgers whose decisions are more than one message. */
const streams = ["CHECKOUT", "INVENTORY", "PAYMENT"] as const;
/** Rounds of the whole run, each of which hits every stream this often. */
const TIMES = 10;
const FIND_MS = 30_000;

const halfBatch: Fault = {
  name: "half_batch",
  does: `SIGKILL of everything at once, the supervisor's files lost with it, at a moment when nats-server has stored the first messages of a batch and not the last: ${streams.join(", ")} in turn`,
  passes: "each of these batches is whole when the server has started again",
  world: {},
  async run(world, extent) {
    const { shop, tally } = world;
    const wrong: string[] = [];
    await underLoad(world, extent, async () => {
      const times = extent.rounds === 1 ? 1 : TIMES * extent.rounds;
      for (let turn = 0; turn < times * streams.length; turn++) {
        const stream = streams[turn % streams.length] as string;
        const pid = shop.shop.pid("nats-server");
        if (pid === undefined) throw new Error("Cannot watch nats-server: it does not run");
        const store = join(shop.folder, "nats");
        const stopped = await stopInHalfBatch({ pid, store, stream }, { timeoutMs: FIND_MS });
        if (!stopped) wrong.push(`no half of a batch was ever seen in ${stream}`);
        tally.kills += 1 + shopServices.length;
        await shop.crash();
      }
    });
    return wrong;
  },
};

export const halfBatchFaults: readonly Fault[] = [halfBatch];
