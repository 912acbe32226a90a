import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyTopology,
  commit,
  consumersOf,
  encode,
  newHeaders,
  type Projected,
  Projector,
  paymentCaptured,
} from "../../nats/mod.ts";
import { type Freezer, startFreezer } from "../../test/support/freezer.ts";
import { type Client, type NatsServer, silent, startNats, until } from "../../test/support/mod.ts";
import { startTestPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { asWriter, type Database, isDatabaseDown, openDatabase } from "./database.ts";
import { counted, snapshots } from "./decide.ts";
import { LIVE, Store } from "./store.ts";
import type { Tables } from "./tables.ts";
import { apply, placed, said } from "./test_support.ts";

const AMOUNT = 2_400;
/** SQLSTATE of a writer whose lease does not hold. */
const notTheWriter = { code: "55000" };

describe("a writer whose host vanishes", () => {
  let nats: NatsServer;
  let client: Client;
  let postgres: TestPostgres;
  let network: Freezer;
  let stack: AsyncDisposableStack;
  let url: string;
  let throughNetwork: string;
  let orders = 0;

  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    [nats, postgres] = await Promise.all([startNats(), startTestPostgres()]);
    stack.use(nats);
    stack.use(postgres);
    client = await nats.connect();
    await applyTopology({ servers: nats.url });
    url = await postgres.createDatabase();
    network = stack.use(await startFreezer(Number(new URL(url).port)));
    const through = new URL(url);
    through.host = `127.0.0.1:${network.port}`;
    throughNetwork = through.href;
  });
  afterAll(() => stack.disposeAsync());

  /** As the owners of their streams would. */
  async function place(count: number): Promise<void> {
    const ids = Array.from({ length: count }, () => `o${orders++}`);
    await store(ids.map((id) => placed(id, { seq: 0 })));
    const money = { amountCents: BigInt(AMOUNT), currency: "EUR" };
    await store(
      ids.map((orderId) =>
        said(paymentCaptured, orderId, { orderId, captureId: orderId, ...money }, { seq: 0 }),
      ),
    );
  }

  async function store(messages: readonly Projected[]): Promise<void> {
    const entries = messages.map(({ contract, id, value }) => ({
      subject: `${contract.subject}.${id}`,
      data: encode(contract, value),
      headers: newHeaders(),
    }));
    const outcome = await commit(client.connection, messages[0]?.stream ?? "", entries);
    if (outcome.kind !== "committed") throw new Error(outcome.kind);
  }

  /** A process: its database, and what counts in it. */
  async function start(at: string): Promise<{ database: Database<Tables>; end(): Promise<void> }> {
    const database = await openDatabase<Tables>({ url: at, folder: "", log: silent });
    const projector = new Projector(client.connection, client.jsm, {
      service: "analytics",
      consumers: consumersOf("analytics"),
      contracts: counted,
      snapshots,
      projection: new Store(database),
      log: silent,
    });
    const owned = stack.use(new AsyncDisposableStack());
    owned.use(database);
    // Ends first, as in the service.
    owned.use(projector);
    return { database, end: () => owned.disposeAsync() };
  }

  /** What is counted, and how far: read by way of a database that answers. */
  async function read({ db }: Database<Tables>) {
    const tables = db.withSchema(LIVE);
    const [found] = await tables
      .selectFrom("orders")
      .select(({ fn }) => fn.countAll<number>().as("orders"))
      .execute();
    const revenue = await tables.selectFrom("revenue_daily").select(["captures", "captured_cents"]).execute();
    const captures = revenue.reduce((sum, day) => sum + day.captures, 0);
    const cents = revenue.reduce((sum, day) => sum + day.captured_cents, 0);
    const positions = await tables.selectFrom("positions").select(["stream", "position"]).execute();
    const position = Object.fromEntries(positions.map(({ stream, position }) => [stream, position]));
    return { orders: found?.orders, captures, cents, ORDER: position.ORDER, PAYMENT: position.PAYMENT };
  }

  /** All that is stored, each once. */
  const everything = () => ({
    orders,
    captures: orders,
    cents: orders * AMOUNT,
    ORDER: orders,
    PAYMENT: orders,
  });

  async function countedBy(database: Database<Tables>, timeoutMs = 15_000): Promise<void> {
    await until(
      "all to be counted",
      async () => {
        try {
          const { ORDER, PAYMENT } = await read(database);
          return ORDER === orders && PAYMENT === orders;
        } catch (cause) {
          // The tables are made by who counts first.
          if ((cause as { code?: string }).code !== "42P01") throw cause;
          return false;
        }
      },
      { timeoutMs },
    );
    expect(await read(database)).toEqual(everything());
  }

  async function opened(database: Database<Tables>): Promise<boolean> {
    try {
      await new Store(database).open(new AbortController().signal);
      return true;
    } catch (cause) {
      if (!isDatabaseDown(cause)) throw cause;
      return false;
    }
  }

  it("is followed by the other within 30 s, and writes nothing when it comes back", async () => {
    const { database: first } = await start(throughNetwork);
    await place(100);
    await countedBy(first);
    const { database: second, end } = await start(url);
    await until("it to look", () => first.isWriter && !second.isWriter);

    network.freeze();
    const frozenAt = performance.now();
    await place(100);
    await until("the other to take over", () => second.isWriter, { timeoutMs: 30_000 });
    await countedBy(second, 30_000);
    const tookMs = performance.now() - frozenAt;
    expect(tookMs).toBeLessThan(30_000);
    // By its own clock, since nobody can tell it.
    expect(first.isWriter).toBe(false);
    await place(100);
    await countedBy(second);

    // What the first one had sent arrives now, and what it thinks of next.
    network.thaw();
    const from = (await new Store(second).positions()).get("FRAUD") ?? 0;
    const batch = { messages: [], parked: [], advance: new Map([["FRAUD", { from, to: from + 1 }]]) };
    await expect(apply(new Store(first), batch)).rejects.toMatchObject(notTheWriter);
    for (const schema of [LIVE, "analytics_next"]) {
      const dropped = asWriter(first, (transaction) =>
        transaction.schema.dropSchema(schema).ifExists().cascade().execute(),
      );
      await expect(dropped).rejects.toMatchObject(notTheWriter);
    }
    await place(100);
    await countedBy(second);
    expect([first.isWriter, second.isWriter]).toEqual([false, true]);

    // And the other way round, by an end that is told.
    await end();
    await until("the first to take over", () => first.isWriter);
    await place(100);
    await countedBy(first);
  }, 120_000);

  it("is followed though it vanishes within a transaction that has locked what is counted", async () => {
    const direct = await postgres.createDatabase();
    const through = new URL(direct);
    through.host = `127.0.0.1:${network.port}`;
    await using first = await openDatabase<Tables>({ url: through.href, folder: "", log: silent });
    await using second = await openDatabase<Tables>({ url: direct, folder: "", log: silent });
    await opened(first);
    const frozen = asWriter(first, async (transaction) => {
      await sql`LOCK TABLE ${sql.id(LIVE, "positions")} IN ACCESS EXCLUSIVE MODE`.execute(transaction);
      network.freeze();
      // It waits for the locks meanwhile, and tries again as the projector does.
      await until("the other to have it open", async () => opened(second), { timeoutMs: 40_000 });
      network.thaw();
      await transaction.schema.dropSchema(LIVE).cascade().execute();
    });
    await expect(frozen).rejects.toThrow();
    await until("the other to be the writer", () => second.isWriter);
    expect(first.isWriter).toBe(false);
    expect((await new Store(second).positions()).get("ORDER")).toBe(0);
  }, 60_000);
});
