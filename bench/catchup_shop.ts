import { dirname, join } from "node:path";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { accessOptions, topology } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import { findNatsServer } from "../tools/nats_server.mjs";
import { startPostgres } from "../tools/postgres.ts";
import { natsServerName } from "../tools/processes.ts";
import type { Shop } from "../tools/supervisor.ts";
import { shopBacklog } from "./backlog.ts";
import { fillCatalogue } from "./catalogue.ts";
import { openShop, pidsOf } from "./shop.ts";
import { openShopOrders, type ShopOrders } from "./shop_orders.ts";
import { ANALYTICS } from "./shop_services.ts";
import { skus } from "./target.ts";

/** What the analytics write to, with what it is called in the report. */
export const databases = {
  pglite: "PGlite, within the service",
  postgres: "a PostgreSQL server",
} as const;
export type Database = keyof typeof databases;
export const databaseNames = Object.keys(databases) as readonly Database[];

/** A shop with all its services, whose analytics have a database of their own. */
export interface CatchUpShop extends AsyncDisposable {
  readonly shop: Shop;
  readonly jsm: JetStreamManager;
  readonly orders: ShopOrders;
  readonly versions: Readonly<Record<string, string>>;
  /** Of a server; empty for PGlite. */
  readonly databaseUrl: string;
  /** Of all that runs, the database's server included, by name. */
  pids(): ReadonlyMap<string, number>;
  /**
   * How many messages each consumer of the analytics has yet to count, by its stream: not delivered, or delivered and not
   * acknowledged.
   */
  lags(): Promise<ReadonlyMap<string, number>>;
  /** How many messages all others have yet to handle. */
  backlog(): Promise<number>;
}

const consumers = topology.consumers.filter(
  ({ service, deadLetters }) => service === ANALYTICS && !deadLetters,
);

/** @param dataDir An empty folder. */
export async function openCatchUpShop(
  database: Database,
  { dataDir, signal }: { dataDir: string; signal: AbortSignal },
): Promise<CatchUpShop> {
  await using stack = new AsyncDisposableStack();
  const postgres =
    database === "postgres"
      ? stack.use(
          // The benchmark's own folders let nobody but their owner pass.
          await startPostgres({ dataDir: join(dataDir, "postgres"), above: [dataDir, dirname(dataDir)] }),
        )
      : undefined;
  // An empty variable counts as none: PGlite, whatever this process's own says.
  const databaseUrl = postgres?.url() ?? "";
  const shop = stack.use(
    await openShop({
      dataDir,
      signal,
      services,
      environmentOf: (service): Record<string, string> =>
        service === ANALYTICS ? { DATABASE_URL: databaseUrl } : {},
    }),
  );
  const connection = await connect({ ...accessOptions(shop.operator), name: "bench" });
  stack.defer(() => connection.close());
  const jsm = await jetstreamManager(connection, { checkAPI: false });
  const orders = stack.use(await openShopOrders(shop.url("order"), connection));
  await fillCatalogue(shop, () => orders.place(skus, crypto.randomUUID()));
  const names = [natsServerName, ...services.map(({ name }) => name)];
  const closing = stack.move();
  return {
    shop,
    jsm,
    orders,
    databaseUrl,
    versions: {
      "nats-server": findNatsServer().version,
      ...(postgres !== undefined && { postgresql: postgres.version }),
    },
    pids: () =>
      new Map([
        ...pidsOf(shop, names),
        ...(postgres?.pid === undefined ? [] : [["postgres", postgres.pid] as const]),
      ]),
    async lags() {
      const infos = await Promise.all(
        consumers.map(({ stream, service }) => jsm.consumers.info(stream, service)),
      );
      return new Map(infos.map((info) => [info.stream_name, info.num_pending + info.num_ack_pending]));
    },
    backlog: () => shopBacklog(connection),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** Of all consumers together. */
export async function lagOf({ lags }: Pick<CatchUpShop, "lags">): Promise<number> {
  return [...(await lags()).values()].reduce((sum, lag) => sum + lag, 0);
}
