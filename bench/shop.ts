import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { accessOptions, applyTopology, topology } from "../nats/mod.ts";
import { type Service, services as shopServices } from "../services/mod.ts";
import { findNatsServer, type NatsServer } from "../tools/nats_server.mjs";
import { natsServerName } from "../tools/processes.ts";
import { type Shop, startShop } from "../tools/supervisor.ts";
import { openShopOrders, RefusedError, type ShopOrders } from "./shop_orders.ts";
import { tracedCommand } from "./syncs.ts";
import { skus, type Target } from "./target.ts";

export interface ShopTargetOptions {
  readonly dataDir: string;
  readonly signal?: AbortSignal;
  /** File that each sync of nats-server is written to, by `syncs.ts`. Default: none. */
  readonly syncTrace?: string;
  /** What all streams together may take on the disk. Default: what `npm start` gives them. */
  readonly maxFileStore?: string;
}

const STOCK = 1_000_000;
const READY_WITHIN_MS = 30_000;
const ASK_AGAIN_MS = 50;

/** This shop as `npm start` runs it: nats-server and every service its own process, synced before acknowledged. */
export async function startShopTarget(options: ShopTargetOptions): Promise<Target> {
  await using stack = new AsyncDisposableStack();
  const shop = stack.use(await openShop(options));
  const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
  stack.defer(() => connection.close());
  const orders = stack.use(await openShopOrders(shop.url("order"), connection));
  await fillCatalogue(shop, orders);
  return targetOf(shop, { connection, orders, close: stack.move() });
}

/** A shop on free ports, its logs in its folder, at the level that it logs at by default. */
export function openShop(options: ShopTargetOptions & { services?: readonly Service[] }): Promise<Shop> {
  const { syncTrace, ...others } = options;
  const natsServer = findNatsServer();
  return startShop({
    natsServer: syncTrace === undefined ? natsServer : traced(natsServer, syncTrace),
    ports: "free",
    prepare: async (operator) => void (await applyTopology(operator)),
    logs: { file: join(options.dataDir, "shop.log") },
    report: () => undefined,
    ...others,
  });
}

function traced(natsServer: NatsServer, trace: string): NatsServer {
  return { ...natsServer, path: tracedCommand(natsServer.path, { trace, script: `${trace}.sh` }) };
}

function targetOf(
  shop: Shop,
  parts: { connection: NatsConnection; orders: ShopOrders; close: AsyncDisposableStack },
): Target {
  const { connection, orders, close } = parts;
  const names = [natsServerName, ...shopServices.map(({ name }) => name)];
  return {
    name: "shop",
    versions: { "nats-server": findNatsServer().version },
    settings: [
      `As \`npm start\` runs it: nats-server and ${shopServices.length} services, each its own process under Node's permission model.`,
      "Durable at every step: nothing is acknowledged before it is synced to the disk (`sync_interval: always`), one copy.",
      "Logs at the default level, one line for each order and effect, to a file.",
    ],
    pids: () => pidsOf(shop, names),
    messages: () => storedMessages(connection),
    checkout: orders.checkout,
    [Symbol.asyncDispose]: () => close.disposeAsync(),
  };
}

/** Those of `names` that run. */
export function pidsOf(shop: Shop, names: readonly string[]): Map<string, number> {
  return new Map(
    names.flatMap((name) => {
      const pid = shop.pid(name);
      return pid === undefined ? [] : [[name, pid]];
    }),
  );
}

/** How many messages the ledgers have taken since they were made. */
export async function storedMessages(connection: NatsConnection): Promise<number> {
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  const infos = await Promise.all(topology.streams.map(({ name }) => jsm.streams.info(name)));
  return infos.reduce((sum, { state }) => sum + state.last_seq, 0);
}

/** Puts the skus on sale and resolves when the order service sells all of them: when an order for all has completed. */
async function fillCatalogue(shop: Shop, orders: ShopOrders): Promise<void> {
  await putStock(shop);
  const giveUpAt = performance.now() + READY_WITHIN_MS;
  for (;;) {
    try {
      await orders.place(skus, crypto.randomUUID());
      return;
    } catch (cause) {
      // 422: there are skus that it has not heard of yet.
      const early = cause instanceof RefusedError && cause.status === 422;
      if (!early || performance.now() > giveUpAt) throw cause;
    }
    await sleep(ASK_AGAIN_MS);
  }
}

export async function putStock(shop: Shop): Promise<void> {
  await Promise.all(
    skus.map(async (sku) => {
      const response = await fetch(`${shop.url("inventory")}/stock/${sku}`, {
        method: "PUT",
        headers: { authorization: "Bearer dev", "content-type": "application/json" },
        body: JSON.stringify({ available: STOCK, unit_price_cents: 1_200, currency: "EUR" }),
      });
      if (!response.ok)
        throw new Error(`Cannot put ${sku} in stock: ${response.status} ${await response.text()}`);
      await response.body?.cancel();
    }),
  );
}
