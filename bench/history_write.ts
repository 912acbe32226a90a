import { randomBytes } from "node:crypto";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type BatchEntry, commit, decode, item, MAX_BATCH_MESSAGES } from "../nats/mod.ts";
import { copyOrder, keptHeaders } from "./history.ts";
import { headerPairs, ledgers, type Recorded } from "./history_record.ts";
import { Stock } from "./history_stock.ts";
import { timerMs } from "./history_timers.ts";
import { skus } from "./target.ts";

export interface WriteOptions {
  /** How many orders. */
  readonly count: number;
  readonly signal: AbortSignal;
  /** Called now and then. */
  readonly onProgress: (written: number) => void;
}

export interface Written {
  /** Messages by stream; removed ones are not among them. */
  readonly messages: ReadonlyMap<string, number>;
  /** Ids of some of the orders. */
  readonly samples: readonly string[];
}

interface Order {
  readonly id: string;
  readonly recorded: Recorded;
}

/**
 * Orders that are written side by side, so that all streams tell of an order at about the same time. It is what batches
 * of 1,000 messages hold, in streams with two messages of an order, with room for every item.
 */
const ROUND = 450;
/** While one round is stored the next one is made. */
const ROUNDS_IN_FLIGHT = 2;
const SAMPLES = 5;
const ID_BYTES = 16;
const INVENTORY = "INVENTORY";
const COMMIT_TIMEOUT_MS = 60_000;

/**
 * Writes copies of recorded orders straight into the ledgers, in atomic batches and all streams at once. Nobody else may
 * write them meanwhile.
 *
 * @param connection The operator's.
 * @throws {Error} If the server refuses a batch, or does not hold afterwards what was sent.
 * @throws The signal's reason, if it aborts.
 */
export async function writeHistory(
  { connection, jsm }: { connection: NatsConnection; jsm: JetStreamManager },
  recorded: readonly Recorded[],
  { count, signal, onProgress }: WriteOptions,
): Promise<Written> {
  const before = await contents(jsm);
  const stock = await openStock(jsm);
  const sent = new Map(ledgers.map(({ name }) => [name, 0]));
  const samples: string[] = [];
  const round = async (orders: readonly Order[]) => {
    await Promise.all(
      ledgers.flatMap(({ name }) =>
        [...batchesOf(orders, name, stock)].map(async (batch) => {
          await store(connection, name, batch);
          sent.set(name, (sent.get(name) ?? 0) + batch.length);
        }),
      ),
    );
  };
  const rounds: Promise<void>[] = [];
  for (let from = 0; from < count; from += ROUND) {
    signal.throwIfAborted();
    const orders = Array.from({ length: Math.min(ROUND, count - from) }, (_, i) => ({
      id: `ord_${randomBytes(ID_BYTES).toString("hex")}`,
      recorded: recorded[(from + i) % recorded.length] as Recorded,
    }));
    const every = Math.ceil(count / SAMPLES / ROUND);
    if ((from / ROUND) % every === 0) samples.push((orders[0] as Order).id);
    rounds.push(round(orders));
    if (rounds.length === ROUNDS_IN_FLIGHT) await rounds.shift();
    onProgress(from + orders.length);
  }
  await Promise.all(rounds);
  return { messages: await verify(jsm, before, sent), samples };
}

/** Whole orders each, so that what belongs together in the ledger is one batch. */
function* batchesOf(orders: readonly Order[], stream: string, stock: Stock): Generator<BatchEntry[]> {
  const extra = stream === INVENTORY ? skus.length : 0;
  const most = Math.max(...orders.map(({ recorded }) => recorded.streams.get(stream)?.messages.length ?? 0));
  if (most === 0) return;
  const size = Math.floor((MAX_BATCH_MESSAGES - extra) / most);
  for (let from = 0; from < orders.length; from += size) {
    const some = orders.slice(from, from + size);
    // As those of real orders: they are removed with their order, and the server forgets them when they were due.
    const timersAt = new Date(Date.now() + timerMs());
    const batch = some.flatMap(({ id, recorded }) => {
      const template = recorded.streams.get(stream);
      return template === undefined ? [] : copyOrder(template, id, { timersAt });
    });
    if (stream === INVENTORY) batch.unshift(...stock.take(some.flatMap(({ recorded }) => recorded.lines)));
    yield batch;
  }
}

/** There is room for all batches in flight: a busy server is none that this can be measured on. */
async function store(
  connection: NatsConnection,
  stream: string,
  batch: readonly BatchEntry[],
): Promise<void> {
  const outcome = await commit(connection, stream, batch, { timeoutMs: COMMIT_TIMEOUT_MS });
  if (outcome.kind === "committed") return;
  const why = "description" in outcome ? outcome.description : "cause" in outcome ? outcome.cause : "";
  throw new Error(`Cannot write the history of ${stream}: ${outcome.kind} ${why}`);
}

async function openStock(jsm: JetStreamManager): Promise<Stock> {
  const stored = await Promise.all(
    skus.map((sku) => jsm.streams.getMessage(INVENTORY, { last_by_subj: `${item.subject}.${sku}` })),
  );
  const found = stored.filter((message) => message !== null);
  return new Stock(
    found.map(({ header, data }) => ({
      value: decode(item, data),
      headers: keptHeaders(headerPairs(header)),
    })),
  );
}

async function contents(jsm: JetStreamManager) {
  const infos = await Promise.all(ledgers.map(({ name }) => jsm.streams.info(name)));
  return new Map(infos.map(({ config, state }) => [config.name, state]));
}

async function verify(
  jsm: JetStreamManager,
  before: Awaited<ReturnType<typeof contents>>,
  sent: ReadonlyMap<string, number>,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const [name, state] of await contents(jsm)) {
    const stored = state.last_seq - (before.get(name)?.last_seq ?? 0);
    if (stored !== sent.get(name)) {
      throw new Error(`Cannot rely on the history: ${name} took ${stored} messages of ${sent.get(name)}`);
    }
    found.set(name, state.messages - (before.get(name)?.messages ?? 0));
  }
  return found;
}
