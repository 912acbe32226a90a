import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { accessOptions } from "../nats/mod.ts";
import { findNatsServer } from "../tools/nats_server.mjs";
import { freePorts } from "../tools/ports.ts";
import { portUses } from "../tools/processes.ts";
import type { Shop } from "../tools/supervisor.ts";
import { openAccepting } from "./accepting.ts";
import { type Books, type Ending, type Side, SLOW_MS } from "./cascade_side.ts";
import { startSlowLedger } from "./cascade_slow.ts";
import { fillCatalogue } from "./catalogue.ts";
import { openPoster } from "./http.ts";
import { nodeFlagsSetting } from "./node_flags.ts";
import { natsServerSetting, openShop } from "./shop.ts";
import { orderBody, RefusedError, stateOf } from "./shop_orders.ts";
import { measuredServices, withoutAnalyticsSetting } from "./shop_services.ts";
import { skus } from "./target.ts";
import type { StartOptions } from "./targets.ts";

const INVENTORY = "inventory";
const watched = "watch.checkout.state.";
const ASKED_AT_A_TIME = 32;

/** This shop as `npm start` runs it, with a proxy between inventory and nats-server. */
export async function startShopSide(options: StartOptions): Promise<Side> {
  await using stack = new AsyncDisposableStack();
  const uses = portUses(measuredServices);
  const free = await freePorts(uses.length);
  const ports = Object.fromEntries(uses.map(({ variable }, i) => [variable, free[i] as number]));
  const ledger = stack.use(await startSlowLedger({ port: ports.NATS_PORT as number, prefix: INVENTORY }));
  const environmentOf = (service: string): Record<string, string> =>
    service === INVENTORY ? { NATS_URL: ledger.url } : {};
  const shop = stack.use(await openShop({ ...options, ports, environmentOf }));
  const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
  stack.defer(() => connection.close());
  const ends = await watchEnds(connection, shop);
  const accepting = stack.use(openAccepting(shop.url("order")));
  await fillCatalogue(shop, () => accepting.place(skus, crypto.randomUUID()));
  const poster = stack.use(openPoster(shop.url("order"), "/orders"));
  const bodies = new Map(skus.map((sku) => [sku, orderBody([sku])]));
  const closing = stack.move();
  return {
    name: "shop",
    versions: { "nats-server": findNatsServer().version },
    settings: [
      "As `npm start` runs it, with its own deadlines and retries; nothing is acknowledged before it is synced to the disk.",
      withoutAnalyticsSetting,
      natsServerSetting,
      nodeFlagsSetting("Every service runs"),
      `Slow: a proxy between inventory and nats-server holds up each write to inventory's ledger for ${SLOW_MS / 1_000} s, as a slow database would, so that its answer to each command comes ${SLOW_MS / 1_000} s late or later. Dead: its process is killed and kept down, and started again.`,
    ],
    async place({ sku, key }) {
      const { status, body } = await poster.post(bodies.get(sku) ?? orderBody([sku]), key);
      if (status !== 202) throw new RefusedError(status, body);
      const { order_id } = JSON.parse(body) as { order_id: string };
      return { ended: ends.of(order_id) };
    },
    async begin(fault) {
      if (fault === "slow") {
        ledger.slow(SLOW_MS);
        return;
      }
      await shop.kill(INVENTORY);
      await shop.stop(INVENTORY);
    },
    async end(fault) {
      if (fault === "slow") ledger.slow(0);
      else await shop.start(INVENTORY);
    },
    lookAgain: ends.lookAgain,
    books: () => readBooks(connection, shop),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

interface Ends {
  /** How and when an order ended, by this process's clock. */
  of(id: string): Promise<Ending>;
  lookAgain(): Promise<void>;
}

/** Nothing is polled: the server says when an order ends. */
async function watchEnds(connection: NatsConnection, shop: Shop): Promise<Ends> {
  const open = new Map<string, PromiseWithResolvers<Ending>>();
  const find = (id: string) => {
    const found = open.get(id) ?? Promise.withResolvers<Ending>();
    open.set(id, found);
    return found;
  };
  const known = new Set<string>();
  const end = (id: string, ending: Ending) => {
    known.add(id);
    find(id).resolve(ending);
  };
  connection.subscribe(`${watched}*`, {
    callback: (_error, { subject, data }) => {
      const state = stateOf(data);
      if (isEnd(state)) end(subject.slice(watched.length), { at: performance.now(), state });
    },
  });
  // The server knows of the subscription before the first order is placed.
  await connection.flush();
  return {
    of: (id) => find(id).promise,
    async lookAgain() {
      const missing = [...open.keys()].filter((id) => !known.has(id));
      const ask = async () => {
        for (let id = missing.pop(); id !== undefined; id = missing.pop()) {
          const response = await fetch(`${shop.url("order")}/orders/${id}`);
          const { state } = (await response.json()) as { state: string };
          // A push that was lost; when it came nobody knows any more.
          if (isEnd(state)) end(id, { at: performance.now(), state });
        }
      };
      await Promise.all(Array.from({ length: ASKED_AT_A_TIME }, ask));
    },
  };
}

function isEnd(state: string): state is Ending["state"] {
  return state === "completed" || state === "cancelled";
}

/** From the ledgers themselves: one subject for each order, and each sku's stock. */
async function readBooks(connection: NatsConnection, shop: Shop): Promise<Books> {
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  const count = async (stream: string, subject: string) => {
    const { state } = await jsm.streams.info(stream, { subjects_filter: `${subject}.*` });
    return state.num_subjects === 0 ? 0 : Object.keys(state.subjects ?? {}).length;
  };
  const taken = await Promise.all(
    skus.map(async (sku) => {
      const response = await fetch(`${shop.url(INVENTORY)}/stock/${sku}`);
      const { reserved, sold } = (await response.json()) as { reserved: number; sold: number };
      return reserved + sold;
    }),
  );
  const captured = await count("PAYMENT", "payment.captured");
  return {
    completed: await count("CHECKOUT", "checkout.completed"),
    unitsTaken: taken.reduce((sum, units) => sum + units, 0),
    paymentsTaken: captured - (await count("PAYMENT", "payment.refunded")),
  };
}
