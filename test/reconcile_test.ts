import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  commit,
  encode,
  message,
  newHeaders,
  type Outgoing,
  paymentCaptured,
  reservation,
  stockReserved,
} from "../nats/mod.ts";
import { connectShop, type Shop } from "../ops/connect.ts";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import {
  exampleOrder,
  openShop,
  openStreams,
  operator,
  type Streams,
  type TestShop,
  until,
} from "./support/mod.ts";

let shop: TestShop;
let streams: Streams;
let client: Shop;
beforeAll(async () => {
  shop = await openShop({ RECONCILE_SETTLE_MS: "300", RECONCILE_EVERY_MS: "100" });
  streams = await openStreams(shop.shop.operator);
  client = await connectShop(shop.shop.operator);
});
afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
});

/** A value of the monitor's /metrics. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${shop.shop.url("monitor")}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(name));
  return Number(line?.split(" ").at(-1));
}

const violations = (invariant: string) => metric(`shop_reconciler_violations{invariant="${invariant}"`);

async function reconcile() {
  const { output, text } = collect();
  const { servers, nkeyFile } = shop.shop.operator;
  const environment = { NATS_URL: servers, NATS_NKEY_FILE: nkeyFile };
  const code = await runOps(["reconcile", "--json"], { output, environment });
  return { code, ...JSON.parse(text().out) };
}

async function forge(stream: string, ...messages: Outgoing[]): Promise<void> {
  const entries = messages.map(({ subject, contract, value }) => {
    return { subject, data: encode(contract, value), headers: newHeaders() };
  });
  expect((await commit(client.connection, stream, entries)).kind).toBe("committed");
}

describe("the reconciler", () => {
  let completed: string;

  it("finds nothing wrong with orders that ended in every way", async () => {
    completed = await shop.place();
    const others = await Promise.all([
      shop.place({ payment_token: "tok_declined" }),
      shop.place({ lines: [{ sku: "broken", quantity: 1 }] }),
      shop.place({ lines: [{ sku: "sold-out", quantity: 1 }] }),
      shop.place({ customer: { ...exampleOrder.customer, plan: "trial" } }),
    ]);
    await Promise.all([completed, ...others].map((id) => shop.ends(id)));
    await streams.quiet();
    expect(await reconcile()).toMatchObject({ code: 0, violations: [], open: 0 });
    await until("all to be checked", async () => (await metric("shop_reconciler_orders_checked_total")) >= 5);
    for (const invariant of ["I1", "I2", "I3", "I4", "I5"]) expect(await violations(invariant)).toBe(0);
    expect(await metric("shop_reconciler_open_orders")).toBe(0);
    expect(Date.now() / 1_000 - (await metric("shop_reconciler_last_run_timestamp"))).toBeLessThan(60);
  });

  it("finds a second capture and a second reservation, as metric, log line and exit code", async () => {
    await forge(
      "PAYMENT",
      message(paymentCaptured, completed, { orderId: completed, captureId: "x", amountCents: 1_200n }),
    );
    await forge("INVENTORY", message(stockReserved, completed, { orderId: completed }));
    await until("the metric", async () => (await violations("I1")) > 0 && (await violations("I4")) > 0);
    const log = await readFile(join(shop.folder, "shop.log"), "utf8");
    const lines = log.split("\n").filter((line) => line.includes("an invariant is violated"));
    expect(lines.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({
        invariant: "I4",
        violated_by: completed,
        service: "monitor",
        level: "error",
      }),
    );
    const found = await reconcile();
    expect(found.code).toBe(1);
    expect(
      found.violations.map(({ invariant, subject }: Record<string, string>) => `${invariant} ${subject}`),
    ).toEqual(expect.arrayContaining([`I1 ${completed}`, `I4 ${completed}`]));
  });

  it("finds stock that no order holds, and sees that it is mended", async () => {
    const held = (lines: { sku: string; quantity: number }[]) =>
      message(reservation, "ord_forged", { orderId: "ord_forged", status: "reserved", lines });
    await forge("INVENTORY", held([{ sku: "mug", quantity: 3 }]));
    await until("the metric", async () => (await violations("I2")) > 1);
    expect((await reconcile()).violations).toContainEqual({
      invariant: "I2",
      subject: "mug",
      detail: "0 are reserved, the reservations hold 3",
    });
    await forge("INVENTORY", held([]));
    await until("the metric", async () => (await violations("I2")) === 0);
  });
});

describe("a dead letter", () => {
  it("is counted, comes back to its service when it is redriven, and is off the list when it is discarded", async () => {
    const entry = {
      subject: "checkout.reserve_stock.ord_x",
      data: new Uint8Array([255]),
      headers: newHeaders(),
    };
    await commit(client.connection, "CHECKOUT", [entry]);
    const waiting = () => metric('shop_dead_letters{parked_by="inventory"');
    await until("the metric", async () => (await waiting()) === 1);
    const call = <T>(path: string, body?: unknown) =>
      shop.call<T>("monitor", path, {
        headers: operator,
        ...(body !== undefined && { method: "POST", body }),
      });
    type List = { dead_letters: { id: string; attempt: number }[] };
    const list = async () => (await call<List>("/dead-letters?service=inventory")).body.dead_letters;
    const [{ id } = { id: "" }] = await list();
    const redriven = await call(`/dead-letters/${id}/redrive`, { by: "eve", force: true });
    expect(redriven.body).toMatchObject({ outcome: "redriven" });
    await until("the second attempt", async () => (await list())[0]?.attempt === 2);
    await call(`/dead-letters/${id}/discard`, { by: "eve", reason: "a test" });
    await until("the metric", async () => (await waiting()) === 0);
    expect(await list()).toEqual([]);
  });
});
