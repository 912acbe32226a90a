import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runOps } from "../../ops/program.ts";
import { collect } from "../../ops/testing.ts";
import { shopServices, until } from "../support/mod.ts";
import type { Fault } from "./fault.ts";
import { stopInHalfBatch, streamFolder } from "./half_batch_watch.ts";
import { underLoad } from "./load.ts";
import type { World } from "./world.ts";

/** Ledgers whose decisions are more than one message. */
const streams = ["CHECKOUT", "INVENTORY", "PAYMENT"] as const;
/** How often each of them is hit in each round of a whole run. */
const TIMES = 10;
/** Ten orders are through in a second or two. */
const HIT_MS = 10_000;
const FIND_MS = 60_000;
/** Of every kind one. */
const ORDERS_A_TURN = 10;
const MAX_TRIES = 5;

/**
 * While orders are placed, kills everything in the middle of a batch, in each stream in turn, and starts the shop again.
 * @param options.times How often in each stream.
 * @param options.stopped Called while nats-server is stopped in the middle of a batch. Default: nothing.
 * @param options.lose Called while nothing runs.
 * @param options.mend Called while the shop starts.
 * @returns What went wrong.
 */
async function killInHalfBatches(
  world: World,
  options: {
    times: number;
    stopped?: () => Promise<void>;
    lose?: (stream: string) => Promise<void>;
    mend?: (stream: string) => Promise<string[]>;
  },
): Promise<string[]> {
  const { shop, tally } = world;
  const {
    times,
    stopped: whenStopped = async () => undefined,
    lose = async () => undefined,
    mend = async () => [],
  } = options;
  const wrong: string[] = [];
  /** Orders are placed each time, so that there are some to hit. */
  const hit = async (stream: string): Promise<boolean> => {
    let stopped = false;
    await underLoad(world, { orders: ORDERS_A_TURN }, async () => {
      const pid = shop.shop.pid("nats-server");
      if (pid === undefined) throw new Error("Cannot watch nats-server: it does not run");
      stopped = await stopInHalfBatch({ pid, store: storeOf(world), stream }, { timeoutMs: HIT_MS });
      if (!stopped) return;
      await whenStopped();
      tally.kills += 1 + shopServices.length;
      const [mended] = await Promise.all([mend(stream), shop.crash(() => lose(stream))]);
      wrong.push(...mended);
    });
    return stopped;
  };
  for (const stream of Array.from({ length: times }, () => streams).flat()) {
    // On a busy machine all batches of a turn may be whole before anybody looks.
    let tries = 0;
    while (tries < MAX_TRIES && !(await hit(stream))) tries += 1;
    if (tries === MAX_TRIES) wrong.push(`no half of a batch was ever seen in ${stream}`);
  }
  return wrong;
}

const halfBatch: Fault = {
  name: "half_batch",
  does: `SIGKILL of everything at once, the supervisor included, when nats-server has stored the first messages of a batch and not the last; in ${streams.join(", ")} in turn`,
  passes: "each of these batches is whole when the server has started again",
  world: {},
  run: (world, extent) =>
    killInHalfBatches(world, { times: extent.rounds === 1 ? 1 : TIMES * extent.rounds }),
};

const tornCommit: Fault = {
  name: "torn_commit",
  does: "the same, and nats-server's own copy of the batch is lost as well, as a power cut may leave it; then what is there of it is removed, by `ops ledgers repair`",
  passes: "nobody works on half a commit, and the shop opens once it is removed",
  world: {},
  run: (world, extent) =>
    killInHalfBatches(world, {
      times: extent.rounds,
      lose: (stream) => rm(join(streamFolder(storeOf(world), stream), "batches"), { recursive: true }),
      mend: async (stream) => {
        // The server that was stopped says nothing, and the one that starts says so in its own time.
        const show = () => ops(world, "ledgers", "--json");
        const torn = ({ out }: { out: string }) => out.includes('"batchId"');
        await until(`half a commit in ${stream}`, async () => torn(await show()), { timeoutMs: FIND_MS });
        const repaired = await ops(world, "ledgers", "repair", stream);
        return repaired.code === 0 ? [] : [`${stream} was not mended: ${repaired.err}`];
      },
    }),
};

/** Hundreds of orders, and what nats-server needs to start besides; it is filled within a moment. */
const DISK_BYTES = 256 * 2 ** 20;
/** The server has tried to go on by then. */
const TRY_MS = 300;

const fullInHalfBatch: Fault = {
  name: "half_batch_disk_full",
  does: "the disk is full when nats-server has stored the first messages of a batch and not the last; it goes on for a moment, then SIGKILL of everything at once; room is made once the shop starts again",
  passes:
    "nats-server is not started on a full disk, and each of these batches is whole when it has started again",
  world: { diskBytes: DISK_BYTES },
  run: (world, extent) =>
    killInHalfBatches(world, {
      times: extent.rounds === 1 ? 1 : TIMES * extent.rounds,
      stopped: async () => {
        world.shop.disk?.fill();
        await world.shop.shop.kill("nats-server", "SIGCONT");
        await sleep(TRY_MS);
      },
      mend: async () => {
        const { disk, reported } = world.shop;
        const before = reported.length;
        const isHeld = () =>
          reported.slice(before).some((line) => line.startsWith("nats-server is not started"));
        await until("nats-server to wait for room", isHeld, { timeoutMs: FIND_MS });
        disk?.clear();
        return [];
      },
    }),
};

function storeOf({ shop }: World): string {
  return join(shop.folder, "nats");
}

async function ops({ shop }: World, ...args: string[]) {
  const { output, text } = collect();
  const { servers, nkeyFile } = shop.shop.operator;
  const environment = { NATS_URL: servers, NATS_NKEY_FILE: nkeyFile, DATA_DIR: shop.folder };
  const code = await runOps(args, { output, environment });
  return { code, ...text() };
}

export const halfBatchFaults: readonly Fault[] = [halfBatch, tornCommit, fullInHalfBatch];
