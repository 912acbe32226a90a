import { connect, type NatsConnection } from "@nats-io/transport-node";
import { accessOptions, commit, HeaderLines } from "../nats/mod.ts";
import type { Shop } from "../tools/supervisor.ts";
import type { Benchmark, Context } from "./benchmark.ts";
import { readCpu } from "./processes.ts";
import { count, number, type Result, table } from "./report.ts";
import { openShop, pidsOf } from "./shop.ts";
import { latencyOf } from "./stats.ts";

/** Messages in a batch. The last is the server's limit. */
const SIZES = [1, 4, 20, 100, 500, 1_000] as const;
/** What a message of the shop has on the average, headers without those of the batch. */
const PAYLOAD_BYTES = 350;
const HEADER_BYTES = 400;

/** What writing batches of one size came to. */
interface Written {
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
      for (const size of SIZES) written.push(await write(size, { shop, connection, context }));
      return report(written, context);
    } finally {
      await connection.close();
    }
  },
};

/** One batch after the other, each answered before the next, as a ledger writes them. */
async function write(
  size: number,
  { shop, connection, context }: { shop: Shop; connection: NatsConnection; context: Context },
): Promise<Written> {
  context.show(`batches of ${count(size)}`);
  const pids = pidsOf(shop, ["nats-server"]);
  const data = new Uint8Array(PAYLOAD_BYTES).fill(1);
  const filler = "x".repeat(HEADER_BYTES);
  const samples: number[] = [];
  const before = readCpu(pids);
  const started = performance.now();
  const until = started + context.options.seconds * 1_000;
  for (let now = started; now < until; ) {
    context.signal.throwIfAborted();
    const first = samples.length * size;
    const entries = Array.from({ length: size }, (_, n) => {
      const headers = new HeaderLines();
      headers.set("filler", filler);
      return { subject: `order.created.raw_${size}_${first + n}`, data, headers, expect: 0 };
    });
    const outcome = await commit(connection, "ORDER", entries);
    if (outcome.kind !== "committed") throw new Error(`Cannot write a batch: ${JSON.stringify(outcome)}`);
    samples.push(performance.now() - now);
    now = performance.now();
  }
  const seconds = (performance.now() - started) / 1_000;
  const after = readCpu(pids);
  const cpuMs = before && after && (after["nats-server"] ?? 0) - (before["nats-server"] ?? 0);
  const { p50, p99 } = latencyOf(samples);
  const batchesPerSecond = samples.length / seconds;
  context.tell(
    `batches of ${count(size)}: ${number(batchesPerSecond * size)} messages a second, p50 ${number(p50)} ms`,
  );
  const serverUs = cpuMs === undefined ? undefined : (cpuMs * 1_000) / (samples.length * size);
  return { size, batchesPerSecond, p50, p99, serverUs };
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
      `${options.seconds} s for each size; nats-server as \`npm start\` runs it, no service, no consumer of the stream that reads.`,
      `Messages of ${PAYLOAD_BYTES} bytes with ${HEADER_BYTES} bytes of headers, each a new subject that is guarded as new.`,
    ],
    versions: {},
    body: `${reading}\n\n${table([head, ...rows])}`,
    data: written,
    problems: [],
  };
}

const reading = `One writer, one batch at a time, to one stream. *p50* and *p99* are milliseconds for a batch; CPU is the server's for each
message. What an order's messages cost here is what its checkout cannot go below.`;
