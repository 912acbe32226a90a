import { Writable } from "node:stream";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createApp, createMetrics } from "../../lib/mod.ts";
import {
  mail,
  orderShipped,
  orderStates,
  paymentCaptured,
  paymentRefunded,
  reservation,
} from "../../nats/mod.ts";
import { databases, type TestDatabase } from "../../test/support/databases.ts";
import { checked } from "../../test/support/openapi.ts";
import { table } from "../coordinator/table.ts";
import { routes } from "./app.ts";
import type { Rebuild } from "./rebuild.ts";
import { Store } from "./store.ts";
import { apply, batchOf, placed, said, standing } from "./test_support.ts";

const never = new AbortController().signal;
const silentLog = pino(new Writable({ write: (_chunk, _encoding, done) => done() }));

const done = ["created", "reserving", "screening", "charging", "fulfilling", "completed"];
const refused = ["created", "reserving", "cancelled"];

it("knows every state of the coordinator's table", () => {
  expect(new Set(orderStates)).toEqual(new Set(Object.keys(table)));
});

describe.each(databases)("analytics answers from %s", (_, open) => {
  let test: TestDatabase;
  let app: ReturnType<typeof routes>;
  let started = 0;
  beforeAll(async () => {
    test = await open();
    const store = new Store(test.database);
    // Read only: nothing is rebuilt here.
    const rebuild = {
      start: () => (started++ === 0 ? "started" : "under way"),
      progress: undefined,
      last: undefined,
    } as unknown as Rebuild;
    const ground = createApp({ log: silentLog, metrics: createMetrics("analytics") });
    const { database } = test;
    app = checked(routes(ground, { database, projector: { ready: true }, rebuild, operatorToken: "secret" }));
    const early = await app.request("/summary");
    expect([early.status, ((await early.json()) as { type: string }).type]).toEqual([
      503,
      "urn:problem:shop:database-unavailable",
    ]);
    await store.open(never);
    const money = { amountCents: 2_400n, currency: "EUR" };
    const day = 24 * 3_600_000;
    await apply(
      store,
      batchOf([
        ...["o1", "o2", "o3", "o4"].map((id, index) => placed(id, { seq: index + 1 })),
        standing("o1", done, { seq: 10 }),
        ...done.slice(0, -1).map((_state, n) => standing("o1", done.slice(0, n + 1), { seq: n + 1 })),
        standing("o2", refused.slice(0, 2), { seq: 11 }),
        standing("o2", refused, { seq: 12, reason: "out_of_stock" }),
        standing("o3", ["created", "reserving"], { seq: 13 }),
        said(paymentCaptured, "o1", { orderId: "o1", captureId: "c1", ...money }, { seq: 1 }),
        said(paymentCaptured, "o9", { orderId: "o9", captureId: "c9", ...money }, { seq: 2, afterMs: day }),
        said(paymentRefunded, "o9", { orderId: "o9", refundId: "r9", ...money }, { seq: 3, afterMs: day }),
        said(
          reservation,
          "o1",
          { orderId: "o1", status: "reserved", lines: [{ sku: "mug", quantity: 2 }] },
          { seq: 1 },
        ),
        said(orderShipped, "o1", { orderId: "o1", carrier: "Post", trackingNumber: "T1" }, { seq: 1 }),
        said(mail, "o1.order_received", { orderId: "o1", kind: "order_received" }, { seq: 1 }),
      ]),
    );
  });
  afterAll(() => test[Symbol.asyncDispose]());

  async function get<T = Record<string, unknown>>(path: string): Promise<{ status: number; body: T }> {
    const answer = await app.request(path);
    return { status: answer.status, body: (await answer.json()) as T };
  }

  it("GET /summary: all orders and all money", async () => {
    const { body } = await get("/summary");
    expect(body).toEqual({
      orders: { placed: 3, live: 1, completed: 1, cancelled: 1 },
      states: [
        { state: "reserving", orders: 1 },
        { state: "completed", orders: 1 },
        { state: "cancelled", orders: 1 },
      ],
      cancelled: [{ reason: "out_of_stock", orders: 1 }],
      revenue: [
        {
          currency: "EUR",
          captures: 2,
          captured_cents: 4_800,
          refunds: 1,
          refunded_cents: 2_400,
          net_cents: 2_400,
        },
      ],
    });
  });

  it("GET /funnel: how far orders got, and how long they were in each state", async () => {
    const { body } = await get<{ placed: number; states: { state: string }[] }>("/funnel");
    expect(body.placed).toBe(3);
    const reserving = body.states.find(({ state }) => state === "reserving");
    expect(reserving).toEqual({
      state: "reserving",
      entered: 3,
      share: 1,
      left: 2,
      mean_ms: 1_000,
      longest_ms: 1_000,
    });
    expect((await get<{ placed: number }>("/funnel?from=2026-02-01")).body.placed).toBe(0);
    expect((await get<{ placed: number }>("/funnel?from=2026-01-31&to=2026-01-31")).body.placed).toBe(3);
  });

  it.each([
    ["day", ["2026-02-01", "2026-01-31"]],
    ["week", ["2026-01-26"]],
    ["month", ["2026-02-01", "2026-01-01"]],
  ])("GET /revenue?by=%s: newest first", async (by, periods) => {
    const { body } = await get<{ revenue: { period: string; net_cents: number }[] }>(`/revenue?by=${by}`);
    expect(body.revenue.map(({ period }) => period)).toEqual(periods);
    expect(body.revenue.reduce((sum, row) => sum + row.net_cents, 0)).toBe(2_400);
  });

  it.each([
    ["/revenue?limit=1", "revenue", 2],
    ["/orders?limit=1", "orders", 4],
    ["/orders?limit=3", "orders", 4],
    ["/stock-movements?limit=1", "stock_movements", 1],
  ])("%s is read page by page, each row once", async (path, list, total) => {
    const rows: string[] = [];
    let cursor: unknown;
    do {
      const { status, body } = await get(`${path}${cursor === undefined ? "" : `&cursor=${cursor}`}`);
      expect(status).toBe(200);
      rows.push(...(body[list] as object[]).map((row) => JSON.stringify(row)));
      cursor = body.next_cursor;
    } while (cursor !== undefined);
    expect(rows).toHaveLength(total);
    expect(new Set(rows).size).toBe(total);
  });

  it("GET /orders finds by state and day", async () => {
    const ids = async (query: string) =>
      (await get<{ orders: { order_id: string }[] }>(`/orders?${query}`)).body.orders.map((o) => o.order_id);
    expect(await ids("state=cancelled")).toEqual(["o2"]);
    expect(await ids("from=2026-01-31")).toEqual(["o4", "o3", "o2", "o1"]);
    expect(await ids("to=2026-01-30")).toEqual([]);
    expect(await ids("from=2026-01-31&to=2026-01-31&state=created")).toEqual(["o4"]);
  });

  it("GET /orders/{id}: all that is counted of one", async () => {
    const { body } = await get("/orders/o1");
    expect(body).toMatchObject({
      state: "completed",
      ended_at: "2026-01-31T12:00:05.000Z",
      lines: [{ sku: "mug", quantity: 2, unit_price_cents: 1_200 }],
      payment: { status: "captured", capture_id: "c1" },
      shipment: { outcome: "shipped", tracking_number: "T1" },
      stock_movements: [{ sku: "mug", kind: "reserved", quantity: 2 }],
      mails: [{ kind: "order_received" }],
    });
    expect((body.transitions as { state: string }[]).map(({ state }) => state)).toEqual(done);
    expect((body.transitions as { lasted_ms?: number }[])[0]?.lasted_ms).toBe(1_000);
    expect((await get("/orders/o404")).status).toBe(404);
    expect((await get("/orders/%00")).status).toBe(404);
  });

  it.each([
    "/revenue?by=year",
    "/revenue?from=yesterday",
    "/revenue?limit=0",
    "/revenue?limit=401",
    "/revenue?cursor=x",
    `/revenue?cursor=${Buffer.from('["2026-13-99","EUR"]').toString("base64url")}`,
    `/orders?cursor=${Buffer.from('["soon","o1"]').toString("base64url")}`,
    `/orders?cursor=${Buffer.from("[1,2,3]").toString("base64url")}`,
    `/stock-movements?cursor=${Buffer.from('[1e30,"a"]').toString("base64url")}`,
    "/orders?state=lost",
    "/orders?customer_id=cus_1",
    "/orders?from=0000-01-01",
    "/stock-movements?sku=%00",
    "/funnel?since=2026-01-01",
    "/funnel?from=2026-02-30",
  ])("%s is refused, and the database is not asked", async (path) => {
    const { status, body } = await get(path);
    expect([status, body.type]).toEqual([400, "urn:problem:shop:invalid-query"]);
  });

  it("GET /projection: how far each stream is counted", async () => {
    const { body } = await get<{ positions: { stream: string; position: number }[] }>("/projection");
    const positions = new Map(body.positions.map(({ stream, position }) => [stream, position]));
    expect(positions.get("CHECKOUT")).toBe(13);
    expect(positions.get("FRAUD")).toBe(0);
  });

  it("POST /rebuild wants the operator's token, and starts one at a time", async () => {
    const post = (token: string) =>
      app.request("/rebuild", { method: "POST", headers: { authorization: `Bearer ${token}` } });
    expect((await post("guess")).status).toBe(401);
    expect((await post("secret")).status).toBe(202);
    expect((await post("secret")).status).toBe(409);
  });
});
