import { connect, type NatsConnection } from "@nats-io/transport-node";
import { accessOptions, commit, HeaderLines } from "../nats/mod.ts";
import { natsServerName } from "../tools/processes.ts";
import type { Shop } from "../tools/supervisor.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { readCpu } from "./processes.ts";
import { disturbances, probeDisk, type Quiet, readBusyMs, shareOfMachine } from "./quiet.ts";
import { count, number, type Result, table } from "./report.ts";
import { natsServerSetting, openShop, pidsOf } from "./shop.ts";
import { latencyOf } from "./stats.ts";

/** Messages in a batch. The last is the server's limit. */
const SIZES = [1, 4, 20, 100, 500, 1_000] as const;
/** Of a message of the shop, on the average of all ledgers after 1,500 checkouts; headers without those of the batch. */
const PAYLOAD_BYTES = 210;
const HEADER_BYTES = 440;
/** The first batches of a connection are slow, and the first size would pay for it. */
const WARMUP_SECONDS = 1;

/** What writing batches of one size came to. */
interface Written extends Quiet {
  readonly size: number;
  readonly batchesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU time of nats-server for each message, in microseconds; undefined where it cannot be known. */
  readonly serverUs: number | undefined;
}

export const raw: Benchmark = {
  name: "raw",
  description: "batches written to one ledger and nothing else: what the server can do",
  async run(context) {
    await using shop = await openShop({
      dataDir: context.folder("raw"),
      signal: context.signal,
      services: [],
    });
    const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
    try {
      const written: Written[] = [];
      for (const size of SIZES) written.push(await measure(size, { shop, connection, context }));
      return report(written, context);
    } finally {
      await connection.close();
    }
  },
};

async function measure(
  size: number,
  { shop, connection, context }: { shop: Shop; connection: NatsConnection; context: Context },
): Promise<Written> {
  const { options, signal, home } = context;
  context.show(`batches of ${count(size)}`);
  await write(connection, { size, seconds: WARMUP_SECONDS, signal });
  const probeMs = probeDisk(home);
  const pids = pidsOf(shop, [natsServerName]);
  const before = readUse(pids);
  const samples = await write(connection, { size, seconds: options.seconds, signal });
  const after = readUse(pids);
  const ms = after.at - before.at;
  const seconds = ms / 1_000;
  const cpuMs = before.serverMs === undefined ? undefined : (after.serverMs ?? 0) - before.serverMs;
  const othersMs =
    cpuMs === undefined || before.busyMs === undefined
      ? undefined
      : (after.busyMs ?? 0) - before.busyMs - cpuMs - (after.ownMs - before.ownMs);
  const { p50, p99 } = latencyOf(samples);
  const batchesPerSecond = samples.length / seconds;
  context.tell(
    `batches of ${count(size)}: ${number(batchesPerSecond * size)} messages a second, p50 ${number(p50)} ms`,
  );
  const serverUs = cpuMs === undefined ? undefined : (cpuMs * 1_000) / (samples.length * size);
  const foreign = othersMs === undefined ? undefined : shareOfMachine(othersMs, ms);
  return { size, batchesPerSecond, p50, p99, serverUs, foreign, probeMs };
}

/** CPU time so far, and when that was. */
function readUse(pids: ReadonlyMap<string, number>) {
  const { user, system } = process.cpuUsage();
  return {
    serverMs: readCpu(pids)?.[natsServerName],
    ownMs: (user + system) / 1_000,
    busyMs: readBusyMs(),
    at: performance.now(),
  };
}

/**
 * One batch after the other, each answered before the next, as a ledger writes them.
 * @returns How long each took, in milliseconds.
 */
async function write(
  connection: NatsConnection,
  { size, seconds, signal }: { size: number; seconds: number; signal: AbortSignal },
): Promise<number[]> {
  const data = new Uint8Array(PAYLOAD_BYTES).fill(1);
  const filler = "x".repeat(HEADER_BYTES);
  const run = crypto.randomUUID();
  const samples: number[] = [];
  const until = performance.now() + seconds * 1_000;
  for (let now = performance.now(); now < until; ) {
    signal.throwIfAborted();
    const first = samples.length * size;
    const entries = Array.from({ length: size }, (_, n) => {
      const headers = new HeaderLines();
      headers.set("filler", filler);
      return { subject: `order.created.raw_${run}_${first + n}`, data, headers, expect: 0 };
    });
    const outcome = await commit(connection, "ORDER", entries);
    if (outcome.kind !== "committed") throw new Error(`Cannot write a batch: ${JSON.stringify(outcome)}`);
    samples.push(performance.now() - now);
    now = performance.now();
  }
  return samples;
}

function report(written: readonly Written[], { options }: Context): Result {
  const rows = written.map(({ size, batchesPerSecond, p50, p99, serverUs }) => [
    count(size),
    number(batchesPerSecond),
    number(batchesPerSecond * size),
    number(p50),
    number(p99),
    number(serverUs),
  ]);
  const head = [
    "messages in a batch",
    "batches a second",
    "messages a second",
    "p50",
    "p99",
    "server CPU, µs",
  ];
  return {
    title: "Raw batches",
    settings: [
      `${options.seconds} s for each size after ${WARMUP_SECONDS} s of warm-up; nats-server as \`npm start\` runs it, no service, no consumer of the stream that reads.`,
      natsServerSetting,
      `Messages of ${PAYLOAD_BYTES} bytes with ${HEADER_BYTES} bytes of headers, each a new subject that is guarded as new.`,
    ],
    versions: {},
    body: `${reading}\n\n${table([head, ...rows])}`,
    data: written,
    problems: disturbances(written.map((one) => ({ ...one, what: `batches of ${count(one.size)}` }))),
  };
}

const reading = `One writer, one batch at a time, to one stream. *p50* and *p99* are milliseconds for a batch; CPU is the server's for each
message. What an order's messages cost here is what its checkout cannot go below.`;
