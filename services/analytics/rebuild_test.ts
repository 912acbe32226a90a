import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
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
import { databases, type TestDatabase } from "../../test/support/databases.ts";
import { type Client, type NatsServer, silent, startNats, until } from "../../test/support/mod.ts";
import { counted, snapshots } from "./decide.ts";
import { Rebuild, type RebuildOptions } from "./rebuild.ts";
import { Store } from "./store.ts";
import { placed, said, standing } from "./test_support.ts";

const ORDERS = 500;
const steps = ["created", "reserving", "screening", "charging"];
const streams = ["ORDER", "CHECKOUT", "PAYMENT"];
const tables = [
  "orders",
  "order_lines",
  "transitions",
  "payments",
  "revenue_daily",
  "funnel_daily",
  "time_in_state_daily",
] as const;

describe.each(databases)("a rebuild in %s", (_, open) => {
  let nats: NatsServer;
  let client: Client;
  let test: TestDatabase;
  let stack: AsyncDisposableStack;
  let projector: Projector;

  beforeAll(async () => {
    [nats, test] = await Promise.all([startNats(), open()]);
    client = await nats.connect();
    await applyTopology({ servers: nats.url });
    for (let from = 0; from < ORDERS; from += 250) {
      const ids = Array.from({ length: 250 }, (__, index) => `o${from + index}`);
      await store(ids.map((id) => placed(id, { seq: 0 })));
      for (const n of [2, 3, 4]) await store(ids.map((id) => standing(id, steps.slice(0, n), { seq: 0 })));
      await store(ids.map(capture));
    }
  });
  afterAll(async () => {
    await test[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    await test.empty();
    stack = new AsyncDisposableStack();
    projector = stack.use(
      new Projector(client.connection, client.jsm, {
        service: "analytics",
        consumers: consumersOf("analytics"),
        contracts: counted,
        snapshots,
        projection: new Store(test.database),
        log: silent,
      }),
    );
    await until("all to be counted", everything, { timeoutMs: 45_000 });
  });
  afterEach(() => stack.disposeAsync());

  function capture(id: string): Projected {
    const money = { orderId: id, captureId: `c-${id}`, amountCents: 2_400n, currency: "EUR" };
    return said(paymentCaptured, id, money, { seq: 0 });
  }

  /** As the owner of their stream would. */
  async function store(messages: readonly Projected[]): Promise<void> {
    const entries = messages.map(({ contract, id, value }) => ({
      subject: `${contract.subject}.${id}`,
      data: encode(contract, value),
      headers: newHeaders(),
    }));
    const outcome = await commit(client.connection, messages[0]?.stream ?? "", entries);
    if (outcome.kind !== "committed") throw new Error(outcome.kind);
  }

  async function everything(): Promise<boolean> {
    const positions = await new Store(test.database).positions().catch(() => new Map<string, number>());
    for (const stream of streams) {
      const { state } = await client.jsm.streams.info(stream);
      if ((positions.get(stream) ?? 0) < state.last_seq) return false;
    }
    return true;
  }

  function openRebuild(readable?: RebuildOptions["readable"]): Rebuild {
    const { connection } = client;
    const { database } = test;
    return new Rebuild({
      connection,
      database,
      projector,
      streams,
      contracts: counted,
      snapshots,
      readable,
      log: silent,
    });
  }

  async function contents(): Promise<Record<string, string[]>> {
    const found: Record<string, string[]> = {};
    for (const table of tables) {
      const rows = await test.db.selectFrom(table).selectAll().execute();
      // The client tells the time of a delivery from a number that cannot hold its nanoseconds: a millisecond more, now and then.
      const told = (name: string, value: unknown) => (name === "captured_at" ? undefined : value);
      found[table] = rows.map((row) => JSON.stringify(row, told)).sort();
    }
    return found;
  }

  it("comes to the same, and nobody sees it half full", async () => {
    const before = await contents();
    const rebuild = stack.use(openRebuild());
    expect(rebuild.start()).toBe("started");
    expect(rebuild.start()).toBe("under way");
    const seen = new Set<number>();
    while (rebuild.progress !== undefined) {
      const rows = await test.db.selectFrom("orders").select("order_id").execute();
      seen.add(rows.length);
    }
    expect(rebuild.last).toBeDefined();
    expect([...seen]).toEqual([ORDERS]);
    expect(await contents()).toEqual(before);
    const schemas = (await test.database.db.introspection.getSchemas()).map(({ name }) => name);
    const others = ["analytics_next", "analytics_old"];
    expect(schemas.filter((name) => others.includes(name))).toEqual([]);
  });

  it("mends what is wrong in what answers, and counts what comes meanwhile once", async () => {
    await test.db.deleteFrom("transitions").execute();
    await test.db.updateTable("revenue_daily").set({ captured_cents: 1 }).execute();
    const rebuild = stack.use(openRebuild());
    rebuild.start();
    let extra = 0;
    while (rebuild.progress !== undefined) await store([capture(`x-${test.database.kind}-${extra++}`)]);
    await until("the last of them", everything);
    const { state } = await client.jsm.streams.info("PAYMENT");
    expect(extra).toBeGreaterThan(0);
    expect((await test.db.selectFrom("transitions").selectAll().execute()).length).toBe(ORDERS * 4);
    const [revenue] = await test.db
      .selectFrom("revenue_daily")
      .select(({ fn }) => [fn.sum<number>("captures").as("captures")])
      .execute();
    expect(Number(revenue?.captures)).toBe(state.messages);
  });

  it("ends where a stream ends that has fewer messages than were counted, and what comes next counts", async () => {
    const before = await contents();
    const own = new Map((await new Store(test.database).positions()).entries());
    // As after a restore from a backup that is older than what is counted.
    await test.db.updateTable("positions").set({ position: 1_000_000 }).execute();
    const rebuild = stack.use(openRebuild());
    rebuild.start();
    await until("the end", () => rebuild.last !== undefined, { timeoutMs: 45_000 });
    expect(await contents()).toEqual(before);
    expect(await new Store(test.database).positions()).toEqual(own);
    await until("it to count again", () => projector.ready);
    await store([capture(`next-${test.database.kind}`)]);
    await until("what comes next", everything);
  });

  it("goes on where the process before it was stopped", async () => {
    const before = await contents();
    const stopped = Promise.withResolvers<void>();
    const midway = Promise.withResolvers<void>();
    const first = openRebuild(async ({ subject }) => {
      if (subject === paymentCaptured.subject) {
        midway.resolve();
        await stopped.promise;
      }
      return undefined;
    });
    first.start();
    await midway.promise;
    const ended = first[Symbol.asyncDispose]();
    stopped.resolve();
    await ended;
    expect(first.last).toBeUndefined();
    const second = stack.use(openRebuild());
    await second.resume();
    await until("the end", () => second.last !== undefined, { timeoutMs: 45_000 });
    await until("it to count again", () => projector.ready);
    expect(await contents()).toEqual(before);
    // There is nothing left to go on with.
    const third = stack.use(openRebuild());
    await third.resume();
    expect(third.progress).toBeUndefined();
  });
});
