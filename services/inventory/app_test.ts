import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectService, createApp, createLog, type Service } from "../../lib/mod.ts";
import { applyTopology, item, itemPriced, key, message, newTrace, readLast } from "../../nats/mod.ts";
import { checked, startNats } from "../../test/support/mod.ts";
import { routes } from "./app.ts";
import { readInventoryConfig } from "./config.ts";

const stack = new AsyncDisposableStack();
let service: Service;
let app: ReturnType<typeof routes>;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  const config = readInventoryConfig({ NATS_URL: nats.url, OPERATOR_TOKEN: "secret", LOG_LEVEL: "silent" });
  service = await connectService("inventory", { config, log: createLog("inventory"), stack });
  app = checked(routes(createApp(service), { ...service, operatorToken: config.OPERATOR_TOKEN }));
});
afterAll(() => stack.disposeAsync());

const operator = { authorization: "Bearer secret" };

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

async function answerOf(response: Response | Promise<Response>): Promise<Answer> {
  const { status, headers } = await response;
  const body = (await (await response).json()) as Record<string, unknown>;
  if (status >= 400) expect(headers.get("content-type")).toBe("application/problem+json");
  return { status, body };
}

const get = (sku: string) => answerOf(app.request(`/stock/${sku}`));

function put(sku: string, body: unknown, headers: Record<string, string> = operator): Promise<Answer> {
  return answerOf(
    app.request(`/stock/${sku}`, {
      method: "PUT",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    }),
  );
}

/** How many prices the ledger has announced, and the last one. */
async function pricesOf(sku: string): Promise<{ count: number; last: [cents: bigint, currency: string] }> {
  const { jsm } = service;
  const subject = `inventory.item_priced.${sku}`;
  const { state } = await jsm.streams.info("INVENTORY", { subjects_filter: subject });
  const { value } = await readLast(service.connection, "INVENTORY", key(itemPriced, sku));
  return {
    count: state.subjects?.[subject] ?? 0,
    last: [value?.unitPriceCents ?? 0n, value?.currency ?? ""],
  };
}

const lastSequence = async () => (await service.jsm.streams.info("INVENTORY")).state.last_seq;

describe("PUT /stock/{sku}", () => {
  it("puts a new item on sale and announces its price", async () => {
    const lamp = { sku: "lamp", available: 5, reserved: 0, sold: 0, unit_price_cents: 900, currency: "EUR" };
    expect(await put("lamp", { available: 5, unit_price_cents: 900 })).toEqual({ status: 200, body: lamp });
    expect(await get("lamp")).toEqual({ status: 200, body: lamp });
    expect(await pricesOf("lamp")).toEqual({ count: 1, last: [900n, "EUR"] });
  });

  it("announces a price when it changes, and only then", async () => {
    await put("chair", { available: 1, unit_price_cents: 5_000 });
    await put("chair", { available: 2 });
    await put("chair", { available: 3, unit_price_cents: 5_000, currency: "EUR" });
    expect(await pricesOf("chair")).toEqual({ count: 1, last: [5_000n, "EUR"] });
    await put("chair", { available: 3, unit_price_cents: 4_500 });
    expect(await pricesOf("chair")).toEqual({ count: 2, last: [4_500n, "EUR"] });
    await put("chair", { available: 3, unit_price_cents: 4_500, currency: "USD" });
    expect(await pricesOf("chair")).toEqual({ count: 3, last: [4_500n, "USD"] });
  });

  it("sets what is available and keeps what orders hold and have bought", async () => {
    await put("table", { available: 5, unit_price_cents: 100 });
    const taken = { available: 2n, reserved: 3n, sold: 7n };
    const held = { sku: "table", unitPriceCents: 100n, currency: "EUR", ...taken };
    await service.ledger.execute({
      keys: [key(item, "table")],
      trace: newTrace(),
      decide: () => ({ messages: [message(item, "table", held)], result: undefined }),
    });
    const { body } = await put("table", { available: 50 });
    expect(body).toMatchObject({ available: 50, reserved: 3, sold: 7, unit_price_cents: 100 });
    expect(await get("table")).toMatchObject({ body: { available: 50, reserved: 3, sold: 7 } });
  });

  it("refuses a new item without a price", async () => {
    const before = await lastSequence();
    const { status, body } = await put("unpriced", { available: 1 });
    expect(status).toBe(422);
    expect(body).toMatchObject({ type: "urn:problem:shop:unpriced-item" });
    expect((await get("unpriced")).status).toBe(404);
    expect(await lastSequence()).toBe(before);
  });

  it.each([
    ["no token", {}],
    ["a wrong token", { authorization: "Bearer wrong" }],
    ["the token in another scheme", { authorization: "Basic secret" }],
    ["the bare token", { authorization: "secret" }],
  ] as [string, Record<string, string>][])("wants the operator's token: %s", async (_name, headers) => {
    const before = await lastSequence();
    const { status, body } = await put("lamp", { available: 0 }, headers);
    expect(status).toBe(401);
    expect(body).toMatchObject({ type: "urn:problem:shop:unauthorized" });
    expect(await lastSequence()).toBe(before);
  });

  it.each([
    ["a negative number", { available: -1 }, "/available"],
    ["a fraction", { available: 1.5 }, "/available"],
    ["text", { available: "1" }, "/available"],
    ["nothing", {}, "/available"],
    ["too many", { available: 1e10 }, "/available"],
    ["a negative price", { available: 1, unit_price_cents: -1 }, "/unit_price_cents"],
    ["a currency that is none", { available: 1, unit_price_cents: 1, currency: "euro" }, "/currency"],
    ["a currency that ISO 4217 has not", { available: 1, unit_price_cents: 1, currency: "XYZ" }, "/currency"],
    ["a currency that was withdrawn", { available: 1, unit_price_cents: 1, currency: "BGN" }, "/currency"],
    ["a currency without a price", { available: 1, currency: "USD" }, "/unit_price_cents"],
    ["another member", { available: 1, reserved: 0 }, ""],
  ])("refuses %s", async (_name, content, pointer) => {
    const before = await lastSequence();
    const { status, body } = await put("lamp", content);
    expect(status).toBe(422);
    expect(body).toMatchObject({ errors: [{ pointer }] });
    expect(await lastSequence()).toBe(before);
  });
});

describe("GET /stock/{sku}", () => {
  it.each(["ghost", "a.b", "*", "%3E", "x".repeat(65)])("knows no %j", async (sku) => {
    const { status, body } = await get(sku);
    expect(status).toBe(404);
    expect(body).toMatchObject({ type: "urn:problem:shop:unknown-sku" });
    expect((await put(sku, { available: 1 })).status).toBe(sku === "ghost" ? 422 : 404);
  });
});
