import { fork } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { accessOptions } from "../nats/mod.ts";
import { type Format, formatNames } from "../ops/export_formats.ts";
import { writeOrders } from "../ops/export_testing.ts";
import { natsServerName } from "../tools/processes.ts";
import type { Shop } from "../tools/supervisor.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { assertRoom, storeBytes } from "./history_disk.ts";
import { readCpu } from "./processes.ts";
import { disturbances, probeDisk, type Quiet, readBusyMs, shareOfMachine } from "./quiet.ts";
import { count, number, type Result, table } from "./report.ts";
import { natsServerSetting, openShop, pidsOf } from "./shop.ts";

/** What the process tells of itself. */
interface Usage {
  readonly code: number;
  /** Without the start of the process. */
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Resident memory, at most. */
  readonly peakBytes: number;
}

/** One export of all orders. */
interface Exported extends Usage, Quiet {
  readonly format: Format;
  readonly orders: number;
  readonly fileBytes: number;
  /** CPU time of nats-server meanwhile; undefined where it cannot be known. */
  readonly serverCpuSeconds: number | undefined;
}

export const exports: Benchmark = {
  name: "export",
  description: "exports of all orders in each format: speed, and memory with a growing number of them",
  async run(context) {
    const { signal, options, show } = context;
    const sizes = options.orders.toSorted((a, b) => a - b);
    const most = sizes.at(-1) as number;
    assertRoom(context.home, most);
    const maxFileStore = `${Math.ceil(storeBytes(most) / 1e9)}GB`;
    show("starting");
    await using shop = await openShop({
      dataDir: context.folder("export"),
      signal,
      services: [],
      maxFileStore,
    });
    const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
    try {
      const exported: Exported[] = [];
      let stored = 0;
      for (const size of sizes) {
        const onProgress = (written: number) => show(`writing orders: ${count(written)} of ${count(size)}`);
        await writeOrders(connection, size, { from: stored, signal, onProgress });
        stored = size;
        for (const format of formatNames)
          exported.push(await measure(format, { shop, orders: size, context }));
      }
      return report(exported);
    } finally {
      await connection.close();
    }
  },
};

async function measure(
  format: Format,
  { shop, orders, context }: { shop: Shop; orders: number; context: Context },
): Promise<Exported> {
  const { home, show, tell, signal } = context;
  show(`${count(orders)} orders as ${format}`);
  const file = join(home, `orders.${format}`);
  const probeMs = probeDisk(home);
  const pids = pidsOf(shop, [natsServerName]);
  const before = { server: readCpu(pids)?.[natsServerName], busy: readBusyMs(), at: performance.now() };
  const usage = await run(["export", "orders", "--format", format, "--output", file], { shop, signal });
  const after = { server: readCpu(pids)?.[natsServerName], busy: readBusyMs(), at: performance.now() };
  if (usage.code !== 0)
    throw new Error(`Cannot export ${orders} orders as ${format}: it ends with ${usage.code}`);
  const serverMs = before.server === undefined ? undefined : (after.server ?? 0) - before.server;
  const busyMs = before.busy === undefined ? undefined : (after.busy ?? 0) - before.busy;
  const foreign =
    busyMs === undefined || serverMs === undefined
      ? undefined
      : shareOfMachine(busyMs - serverMs - usage.cpuSeconds * 1_000, after.at - before.at);
  const { size: fileBytes } = statSync(file);
  tell(
    `${count(orders)} orders as ${format}: ${number(orders / usage.seconds)} a second, ` +
      `${number(usage.peakBytes / 2 ** 20)} MiB at most`,
  );
  const serverCpuSeconds = serverMs === undefined ? undefined : serverMs / 1_000;
  return { ...usage, format, orders, fileBytes, serverCpuSeconds, foreign, probeMs };
}

/** @throws {Error} If the process ends without having told what it took, as one does that runs out of memory. */
function run(args: readonly string[], { shop, signal }: { shop: Shop; signal: AbortSignal }): Promise<Usage> {
  const { promise, resolve, reject } = Promise.withResolvers<Usage>();
  const child = fork(join(import.meta.dirname, "export_run.ts"), args, {
    env: { ...process.env, NATS_URL: shop.natsUrl, NATS_NKEY_FILE: shop.operator.nkeyFile },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    signal,
  });
  child.once("message", (usage) => resolve(usage as Usage));
  child.once("error", reject);
  child.once("exit", (code) => reject(new Error(`Cannot export: the process ended with ${code}`)));
  return promise;
}

function report(exported: readonly Exported[]): Result {
  const rows = exported.map(
    ({ orders, format, seconds, cpuSeconds, serverCpuSeconds, peakBytes, fileBytes }) => [
      `${count(orders)} ${format}`,
      number(seconds),
      number(orders / seconds),
      number((cpuSeconds * 1e6) / orders),
      number(serverCpuSeconds === undefined ? undefined : (serverCpuSeconds * 1e6) / orders),
      number(peakBytes / 2 ** 20),
      number(fileBytes / orders),
    ],
  );
  const head = ["orders", "s", "orders a second", "CPU, µs", "server CPU, µs", "peak, MiB", "bytes an order"];
  return {
    title: "Exports",
    settings: [
      "`npm run ops -- export orders --format … --output …`, one process each; nats-server as `npm start` runs it, no service.",
      natsServerSetting,
      "Completed orders of one line, of which nothing is stored but what an export reads: four messages.",
    ],
    versions: {},
    body: `${reading}\n\n${table([head, ...rows])}`,
    data: exported,
    problems: disturbances(
      exported.map((one) => ({ ...one, what: `${count(one.orders)} as ${one.format}` })),
    ),
  };
}

const reading = `All orders into one file. *CPU* is for each order, of the exporting process with its start, and of nats-server; *peak* is the
process's resident memory at most, which the number of orders should not move.`;
