import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkoutState, paymentCaptured, paymentRefunded, viewAll } from "../nats/mod.ts";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import type { Funnel, Order, ProjectionStatus, Summary } from "../services/analytics/api.ts";
import { openShop, openStreams, type Streams, type TestShop } from "./support/mod.ts";
import { startTestPostgres, type TestPostgres } from "./support/postgres.ts";

const BATCH = 12;
/** What becomes of orders: most are completed, the others take every way back there is. */
const kinds: readonly Record<string, unknown>[] = [
  {},
  {},
  { payment_token: "tok_declined" },
  { lines: [{ sku: "sold-out", quantity: 1 }] },
  { lines: [{ sku: "broken", quantity: 1 }] },
  { lines: [{ sku: "desk", quantity: 2 }] },
];

describe.each(["PGlite", "PostgreSQL"])("analytics on %s", (kind) => {
  let postgres: TestPostgres | undefined;
  let shop: TestShop;
  let streams: Streams;
  const orders: string[] = [];

  beforeAll(async () => {
    let environment = {};
    if (kind === "PostgreSQL") {
      postgres = await startTestPostgres();
      environment = { DATABASE_URL: await postgres.createDatabase() };
    }
    shop = await openShop(environment, { analytics: true });
    streams = await openStreams(shop.shop.operator);
  });
  afterAll(async () => {
    await streams[Symbol.asyncDispose]();
    await shop[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  async function place(count: number): Promise<void> {
    const placed = await Promise.all(
      Array.from({ length: count }, (_, index) => shop.place(kinds[index % kinds.length])),
    );
    orders.push(...placed);
  }

  async function ops(...args: string[]): Promise<{ code: number; out: string }> {
    const { output, text } = collect();
    const environment = {
      NATS_URL: shop.shop.natsUrl,
      NATS_NKEY_FILE: shop.shop.operator.nkeyFile,
      ANALYTICS_URL: shop.shop.url("analytics"),
    };
    const code = await runOps(args, { output, environment });
    return { code, out: text().out };
  }

  async function read<T>(path: string): Promise<T> {
    const { status, body } = await shop.call<T>("analytics", path);
    if (status !== 200) throw new Error(`${path} answers ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  /** Resolves when all that is stored is counted. */
  async function caughtUp(): Promise<void> {
    for (const id of orders) await shop.ends(id);
    await streams.quiet({ projections: true });
  }

  /** Compares what is counted with what the streams hold, which is read here in another way. */
  async function agrees(): Promise<void> {
    const { jsm } = streams;
    const standing = new Map<
      string,
      { state: string; reason: string; history: { state: string; at: Date }[] }
    >();
    for await (const { id, value } of viewAll(jsm, "CHECKOUT", checkoutState)) {
      const history = value.history.map(({ state, at }) => ({
        state,
        at: at ? timestampDate(at) : new Date(0),
      }));
      standing.set(id, { state: value.state, reason: value.reason, history });
    }
    let [captures, captured, refunds, refunded] = [0, 0, 0, 0];
    for await (const { value } of viewAll(jsm, "PAYMENT", paymentCaptured)) {
      captures += 1;
      captured += Number(value.amountCents);
    }
    for await (const { value } of viewAll(jsm, "PAYMENT", paymentRefunded)) {
      refunds += 1;
      refunded += Number(value.amountCents);
    }
    const all = [...standing.values()];
    const summary = await read<Summary>("/summary");
    expect(summary.orders).toEqual({
      placed: all.length,
      live: 0,
      completed: all.filter(({ state }) => state === "completed").length,
      cancelled: all.filter(({ state }) => state === "cancelled").length,
    });
    expect(summary.revenue).toEqual([
      {
        currency: "EUR",
        captures,
        captured_cents: captured,
        refunds,
        refunded_cents: refunded,
        net_cents: captured - refunded,
      },
    ]);
    const funnel = await read<Funnel>("/funnel");
    for (const { state, entered, left, mean_ms } of funnel.states) {
      const visits = all.flatMap(({ history }) =>
        history.flatMap((transition, n) =>
          transition.state === state ? [history[n + 1]?.at.getTime()] : [],
        ),
      );
      expect([state, entered]).toEqual([state, visits.length]);
      expect([state, left]).toEqual([state, visits.filter((at) => at !== undefined).length]);
      if (left > 0) expect(mean_ms).toBeGreaterThanOrEqual(0);
    }
    for (const id of orders.slice(-BATCH)) {
      const order = await read<Order>(`/orders/${id}`);
      const truth = standing.get(id);
      expect(order.state).toBe(truth?.state);
      expect(order.reason ?? "").toBe(truth?.reason);
      expect(order.transitions.map(({ state, at }) => [state, at])).toEqual(
        truth?.history.map(({ state, at }) => [state, at.toISOString()]),
      );
    }
  }

  it("counts each event once, though its process is killed again and again", async () => {
    // PGlite takes seconds to start again.
    const times = postgres === undefined ? 2 : 3;
    for (let kills = 0; kills < times; kills++) {
      const placing = place(BATCH);
      await shop.shop.kill("analytics");
      await placing;
      await shop.shop.ready("analytics");
    }
    await caughtUp();
    await agrees();
  });

  it("is rebuilt by a replay, and nobody sees it half full, nor is anything done a second time", async () => {
    const before = await read<Summary>("/summary");
    const sequences = await streams.lastSequences();
    const seen = new Set<string>();
    const watching = new AbortController();
    const watched = (async () => {
      while (!watching.signal.aborted) seen.add(JSON.stringify(await read<Summary>("/summary")));
    })();
    const dry = await ops("replay", "analytics", "--from", "start", "--dry-run");
    expect(dry).toMatchObject({ code: 0 });
    expect(dry.out).toContain("counted anew beside what answers");
    const replayed = await ops("replay", "analytics", "--from", "start");
    expect(replayed).toMatchObject({ code: 0 });
    watching.abort();
    await watched;
    expect([...seen]).toEqual([JSON.stringify(before)]);
    expect(await streams.lastSequences()).toEqual(sequences);
    const { last_rebuild } = await read<ProjectionStatus>("/projection");
    expect(last_rebuild).toBeDefined();
    await place(2);
    await caughtUp();
    await agrees();
  });

  it("pauses while the database is down and nobody else notices; then nothing is missing", async () => {
    // PGlite is down with its process.
    if (postgres === undefined) await shop.shop.stop("analytics");
    else await postgres.server.stop({ mode: "immediate" });
    const from = orders.length;
    await place(BATCH);
    for (const id of orders.slice(from)) await shop.ends(id);
    if (postgres === undefined) await shop.shop.start("analytics");
    else {
      const down = await shop.call("analytics", "/summary");
      expect([down.status, down.body.type]).toEqual([503, "urn:problem:shop:database-unavailable"]);
      expect((await fetch(`${shop.shop.url("analytics")}/healthz`)).status).toBe(200);
      await postgres.server.start();
    }
    await caughtUp();
    await agrees();
    const log = await readFile(join(shop.folder, "shop.log"), "utf8");
    const restarts = log
      .split("\n")
      .filter((line) => line.includes('"service":"analytics"') && line.includes("cannot start"));
    expect(restarts).toEqual([]);
  });
});
