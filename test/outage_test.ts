import { join } from "node:path";
import { setInterval, setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { services } from "../services/mod.ts";
import { stock } from "./faults/orders.ts";
import {
  auditLedgers,
  type Counted,
  countLedgers,
  exampleOrder,
  openShop,
  openStreams,
  readLedgers,
  sentMails,
  type TestShop,
  until,
} from "./support/mod.ts";

/** How long each service is away, and how much later than the one before it goes. */
const OUTAGE_MS = 10_000;
const STAGGER_MS = 2_000;
/** A customer comes this often. */
const ORDER_EVERY_MS = 250;

let shop: TestShop;
beforeAll(async () => {
  // With the deadlines that a shop has which nobody has configured.
  shop = await openShop({}, { analytics: true });
});
afterAll(() => shop[Symbol.asyncDispose]());

const accepted: { id: string; ends: readonly string[] }[] = [];

async function place(): Promise<void> {
  accepted.push({ id: await shop.place(), ends: ["completed"] });
}

/** Places an order every now and then for as long as `during` goes on. */
async function ordersDuring(during: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const ended = during.finally(() => over.abort());
  const placing: Promise<void>[] = [];
  try {
    for await (const _ of setInterval(ORDER_EVERY_MS, undefined, { signal: over.signal }))
      placing.push(place());
  } catch (cause) {
    if (!over.signal.aborted) throw cause;
  }
  await ended;
  await Promise.all(placing);
}

const readyz = (name: string) => shop.call<{ checks: Record<string, boolean> }>(name, "/readyz");

/** Resolves when each of them says of itself that it is ready, or that it is not. */
async function allAnswer(status: number): Promise<void> {
  await Promise.all(
    services.map(({ name }) => {
      return until(`/readyz of ${name} to be ${status}`, async () => (await readyz(name)).status === status, {
        timeoutMs: 30_000,
      });
    }),
  );
}

describe("a service that is away for ten seconds", () => {
  it("delays orders, and none is lost or cancelled by it", async () => {
    // They overlap: one after the other they would take too long, and together they are no easier on the orders.
    const outages = services.map(async ({ name }, index) => {
      await sleep(index * STAGGER_MS);
      await shop.shop.stop(name);
      await sleep(OUTAGE_MS);
      await shop.shop.start(name);
    });
    await ordersDuring(Promise.all(outages));
    const orders = await Promise.all(accepted.map(({ id }) => shop.ends(id)));
    expect(orders.map(({ reason, state }) => reason ?? state)).toEqual(orders.map(() => "completed"));
    expect(orders.length).toBeGreaterThan(OUTAGE_MS / ORDER_EVERY_MS);
    const delays = orders.map(({ history }) => {
      const [first, last] = [history.at(0), history.at(-1)].map((entry) => Date.parse(entry?.at ?? ""));
      return Number(last) - Number(first);
    });
    expect(Math.max(...delays)).toBeGreaterThan(OUTAGE_MS / 2);
  }, 150_000);
});

describe("while NATS is away", () => {
  it("reads are answered with 503, writes with 503 or late, nothing dies, and all goes on when it is back", async () => {
    const { id } = accepted[0] as { id: string };
    const pids = services.map(({ name }) => shop.shop.pid(name));
    const headers = { "idempotency-key": "while NATS is away" };
    const post = () =>
      shop.call<{ order_id?: string; type?: string }>("order", "/orders", {
        method: "POST",
        headers,
        body: exampleOrder,
      });

    await shop.shop.stop("nats-server");
    const posted = post();
    const reads = await Promise.all([
      shop.call("order", `/orders/${id}`),
      shop.call("order", "/orders?state=completed"),
      shop.call("coordinator", `/checkouts/${id}`),
      shop.call("inventory", "/stock/mug"),
      shop.call("payment", `/payments/${id}`),
      shop.call("fulfillment", `/shipments/${id}`),
      shop.call("notification", `/mails/${id}`),
    ]);
    for (const { status, body, headers } of reads) {
      expect(status).toBe(503);
      expect(headers.get("content-type")).toBe("application/problem+json");
      expect(headers.get("retry-after")).toBe("1");
      expect(body).toMatchObject({ type: "urn:problem:shop:unavailable", status: 503 });
    }
    await allAnswer(503);
    expect((await readyz("order")).body.checks).toMatchObject({ nats: false });
    for (const { name } of services) expect((await shop.call(name, "/healthz")).status).toBe(200);

    await shop.shop.start("nats-server");
    await allAnswer(200);
    const first = await posted;
    expect([202, 503]).toContain(first.status);
    if (first.status === 503) expect(first.body.type).toBe("urn:problem:shop:unavailable");
    const again = await until("the order to be accepted", async () => {
      const answer = await post();
      return answer.status === 202 ? answer : undefined;
    });
    if (first.status === 202) expect(again.body.order_id).toBe(first.body.order_id);
    accepted.push({ id: again.body.order_id ?? "", ends: ["completed"] });
    expect(await shop.ends(again.body.order_id ?? "")).toMatchObject({ state: "completed" });
    expect(services.map(({ name }) => shop.shop.pid(name))).toEqual(pids);
  }, 90_000);
});

describe("after all of it", () => {
  it("the analytics have counted each order once", async () => {
    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet({ projections: true });
    const { body } = await shop.call<Counted>("analytics", "/summary");
    expect(body).toMatchObject(countLedgers(await readLedgers(streams.jsm)));
    expect(body.orders).toMatchObject({ placed: accepted.length, live: 0 });
  }, 60_000);

  it("money, stock, histories and mails are as they should be, and there is no dead letter", async () => {
    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet();
    const mails = await sentMails(join(shop.folder, "mail"));
    expect(auditLedgers(await readLedgers(streams.jsm), { accepted, stock, mails })).toEqual([]);
  }, 60_000);
});
