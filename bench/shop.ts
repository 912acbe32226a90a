import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { accessOptions, applyTopology, topology } from "../nats/mod.ts";
import { findNatsServer, type NatsServer } from "../tools/nats_server.mjs";
import { natsServerName } from "../tools/processes.ts";
import { StartError } from "../tools/start_error.ts";
import { type Shop, type ShopOptions, startWholeShop } from "../tools/supervisor.ts";
import { shopBacklog } from "./backlog.ts";
import { fillCatalogue } from "./catalogue.ts";
import { nodeFlagsSetting } from "./node_flags.ts";
import { openShopOrders, type ShopOrders } from "./shop_orders.ts";
import { measuredServices, withoutAnalyticsSetting } from "./shop_services.ts";
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

const LOG_TAIL_LINES = 10;

/** Of nats-server as `tools/processes.ts` starts it. */
export const natsServerSetting =
  "nats-server runs with `GOGC=300`, and a `GOMEMLIMIT` of a quarter of the memory.";

/** This shop as `npm start` runs it: nats-server and every service its own process, synced before acknowledged. */
export async function startShopTarget(options: ShopTargetOptions): Promise<Target> {
  await using stack = new AsyncDisposableStack();
  const shop = stack.use(await openShop(options));
  const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
  stack.defer(() => connection.close());
  const orders = stack.use(await openShopOrders(shop.url("order"), connection));
  await fillCatalogue(shop, () => orders.place(skus, crypto.randomUUID()));
  return targetOf(shop, { connection, orders, close: stack.move() });
}

/**
 * A shop on free ports, its logs in its folder, at the level that it logs at by default; without analytics, unless
 * `services` says otherwise.
 * @throws {StartError} With the end of the log, whose folder does not outlive this program.
 */
export async function openShop(
  options: ShopTargetOptions & Pick<ShopOptions, "services" | "ports" | "environmentOf">,
): Promise<Shop> {
  const { syncTrace, ...others } = options;
  const natsServer = findNatsServer();
  const log = join(options.dataDir, "shop.log");
  try {
    return await startWholeShop({
      services: measuredServices,
      natsServer: syncTrace === undefined ? natsServer : traced(natsServer, syncTrace),
      ports: "free",
      prepare: async (operator) => void (await applyTopology(operator)),
      logs: { file: log },
      report: () => undefined,
      ...others,
    });
  } catch (cause) {
    if (!(cause instanceof StartError) || !existsSync(log)) throw cause;
    const tail = readFileSync(log, "utf8").trimEnd().split("\n").slice(-LOG_TAIL_LINES);
    throw new StartError(`${cause.message}; the end of the log:\n  ${tail.join("\n  ")}`, { cause });
  }
}

function traced(natsServer: NatsServer, trace: string): NatsServer {
  return { ...natsServer, path: tracedCommand(natsServer.path, { trace, script: `${trace}.sh` }) };
}

function targetOf(
  shop: Shop,
  parts: { connection: NatsConnection; orders: ShopOrders; close: AsyncDisposableStack },
): Target {
  const { connection, orders, close } = parts;
  const names = [natsServerName, ...measuredServices.map(({ name }) => name)];
  return {
    name: "shop",
    versions: { "nats-server": findNatsServer().version },
    settings: [
      `As \`npm start\` runs it: nats-server and ${measuredServices.length} services, each its own process under Node's permission model.`,
      withoutAnalyticsSetting,
      "Durable at every step: nothing is acknowledged before it is synced to the disk (`sync_interval: always`), one copy.",
      natsServerSetting,
      nodeFlagsSetting("Every service runs"),
      "An order's two mails are written beside it, not before it is completed; *left behind* shows whether that keeps up.",
      "Logs at the default level, one line for each order and effect, to a file.",
    ],
    pids: () => pidsOf(shop, names),
    messages: () => storedMessages(connection),
    backlog: () => shopBacklog(connection),
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
