import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import type { JetStreamManager } from "@nats-io/jetstream";
import { Client } from "pg";
import { type Contract, checkoutCompleted, mail, orderShipped, paymentCaptured } from "../nats/mod.ts";
import type { CatchUpShop } from "./catchup_shop.ts";
import { contentsOf } from "./history_contents.ts";
import { ANALYTICS } from "./shop_services.ts";

/** What the ledgers say, beside what the database does: the same, if nothing was lost and nothing counted twice. */
export type Books = readonly {
  /** As in a sentence: `captured payments`. */
  readonly what: string;
  readonly inLedgers: number;
  readonly inAnalytics: number;
}[];

/** Each with the contract of the one message that an order leaves of it, and where it is counted: sums, where there are any. */
const counted: readonly (readonly [what: string, stream: string, contract: Contract, query: string])[] = [
  [
    "completed orders",
    "CHECKOUT",
    checkoutCompleted,
    "SELECT sum(orders) AS n FROM analytics.funnel_daily WHERE state = 'completed'",
  ],
  ["captured payments", "PAYMENT", paymentCaptured, "SELECT sum(captures) AS n FROM analytics.revenue_daily"],
  ["shipments", "FULFILLMENT", orderShipped, "SELECT count(*) AS n FROM analytics.shipments"],
  ["mails", "NOTIFICATION", mail, "SELECT count(*) AS n FROM analytics.mails"],
];
const ordersQuery = "SELECT count(*) AS n FROM analytics.orders";

/** Stops the analytics, whose database nobody else may read otherwise. They have to have counted everything. */
export async function readBooks({ shop, jsm, databaseUrl }: CatchUpShop): Promise<Books> {
  await shop.stop(ANALYTICS);
  await using database =
    databaseUrl === "" ? await openPGlite(shop.dataDir) : await openPostgres(databaseUrl);
  const books = [];
  // One after the other: a connection to PostgreSQL takes one query at a time.
  for (const [what, stream, { subject }, query] of counted) {
    const inLedgers = await subjectsOf(jsm, stream, subject);
    books.push({ what, inLedgers, inAnalytics: await database.count(query) });
  }
  const orders = {
    what: "orders",
    inLedgers: (await contentsOf(jsm)).orders,
    inAnalytics: await database.count(ordersQuery),
  };
  return [orders, ...books];
}

interface Counting extends AsyncDisposable {
  /** @param query One row with a column `n`. */
  count(query: string): Promise<number>;
}

async function openPostgres(url: string): Promise<Counting> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return {
    count: async (query) => Number((await client.query<{ n: string }>(query)).rows[0]?.n),
    [Symbol.asyncDispose]: () => client.end(),
  };
}

async function openPGlite(dataDir: string): Promise<Counting> {
  const pglite = await PGlite.create({ dataDir: join(dataDir, ANALYTICS, "pglite") });
  return {
    count: async (query) => Number((await pglite.query<{ n: string }>(query)).rows[0]?.n),
    [Symbol.asyncDispose]: () => pglite.close(),
  };
}

/** How many ids a stream has messages of a subject for. */
async function subjectsOf(jsm: JetStreamManager, stream: string, subject: string): Promise<number> {
  const { state } = await jsm.streams.info(stream, { subjects_filter: `${subject}.>` });
  return Object.keys(state.subjects ?? {}).length;
}
