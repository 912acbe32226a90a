import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectObserver, createApp, createLog } from "../../lib/mod.ts";
import { applyTopology, commit, encode, message, newHeaders, park, reserveStock } from "../../nats/mod.ts";
import { type Client, checked, startNats } from "../../test/support/mod.ts";
import { routes } from "./app.ts";
import { readMonitorConfig } from "./config.ts";

const operator = { authorization: "Bearer secret" };
const stack = new AsyncDisposableStack();
let client: Client;
let app: ReturnType<typeof routes>;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  const config = readMonitorConfig({ NATS_URL: nats.url, OPERATOR_TOKEN: "secret", LOG_LEVEL: "silent" });
  const service = await connectObserver("monitor", { config, log: createLog("monitor"), stack });
  app = checked(routes(createApp(service), { ...service, operatorToken: config.OPERATOR_TOKEN }));
});
afterAll(() => stack.disposeAsync());

/** A command that inventory has parked. */
async function parked(id: string, options: { data?: Uint8Array; error?: string } = {}): Promise<string> {
  const data = options.data ?? encode(reserveStock, message(reserveStock, id, { orderId: id }).value);
  const entry = { subject: `checkout.reserve_stock.${id}`, data, headers: newHeaders() };
  const stored = await commit(client.connection, "CHECKOUT", [entry]);
  if (stored.kind !== "committed") throw new Error(stored.kind);
  const consumer = await client.js.consumers.get("CHECKOUT", "inventory");
  for (;;) {
    const msg = await consumer.next();
    if (msg === null) throw new Error("not delivered");
    await msg.ackAck();
    if (msg.seq !== stored.lastSeq) continue;
    const outcome = await park(client.connection, msg, {
      service: "inventory",
      error: options.error ?? "absurd",
    });
    expect(outcome.kind).toBe("committed");
    return `inventory.inventory.CHECKOUT.${msg.seq}`;
  }
}

async function call(path: string, body?: unknown, headers: Record<string, string> = operator) {
  const response = await app.request(path, {
    method: body === undefined ? "GET" : "POST",
    headers: { ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    body: JSON.parse(await response.text()),
  };
}

const idsOf = (body: { dead_letters: { id: string }[] }) => body.dead_letters.map(({ id }) => id);

describe("GET /dead-letters", () => {
  it("wants the operator's token, as every path below it does", async () => {
    for (const path of ["/dead-letters", "/dead-letters/a.b.c.1"]) {
      expect(await call(path, undefined, {})).toMatchObject({
        status: 401,
        type: "application/problem+json",
      });
    }
    for (const path of ["/dead-letters/redrive", "/dead-letters/a.b.c.1/discard"]) {
      expect((await call(path, {}, { authorization: "Bearer wrong" })).status).toBe(401);
    }
  });

  it("lists what is parked, by filter and page by page", async () => {
    const from = new Date().toISOString();
    const first = await parked("list-1", { error: "out of ink" });
    const second = await parked("list-2", { error: "out of paper" });
    const all = await call(`/dead-letters?from=${from}`);
    expect(idsOf(all.body)).toEqual([first, second]);
    expect(all.body.dead_letters[0]).toMatchObject({
      id: first,
      status: "parked",
      service: "inventory",
      type: "checkout.reserve_stock",
      subject: "checkout.reserve_stock.list-1",
      error: "out of ink",
      attempt: 1,
    });
    const by = async (query: string) => idsOf((await call(`/dead-letters?from=${from}&${query}`)).body);
    expect(await by("error=ink")).toEqual([first]);
    expect(await by("service=payment")).toEqual([]);
    expect(await by("type=checkout.reserve_stock&service=inventory")).toEqual([first, second]);
    const page = await call(`/dead-letters?from=${from}&limit=1`);
    expect(idsOf(page.body)).toEqual([first]);
    expect(await by(`cursor=${page.body.next_cursor}`)).toEqual([second]);
  });

  it("names every fault of a query", async () => {
    const { status, body } = await call("/dead-letters?from=yesterday&limit=0&nonsense=1");
    expect(status).toBe(400);
    expect(body.type).toBe("urn:problem:shop:invalid-query");
    expect(body.errors.map(({ parameter }: { parameter: string }) => parameter)).toEqual([
      "from",
      "limit",
      "",
    ]);
  });
});

describe("GET /dead-letters/{id}", () => {
  it("shows the payload by its schema", async () => {
    const id = await parked("shown");
    const { body } = await call(`/dead-letters/${id}`);
    expect(body).toMatchObject({
      id,
      payload: { schema: "shop.checkout.v1.ReserveStock", value: { orderId: "shown" }, unknown_bytes: 0 },
    });
  });

  it("shows the bytes and the error of what cannot be decoded", async () => {
    const id = await parked("bytes", { data: new Uint8Array([255, 1]) });
    const { payload } = (await call(`/dead-letters/${id}`)).body;
    expect(payload).toMatchObject({ hex: "ff01", base64: "/wE=", decode_error: expect.any(String) });
  });

  it("is 404 for what is none", async () => {
    for (const id of ["inventory.inventory.CHECKOUT.999999", "nonsense"]) {
      expect(await call(`/dead-letters/${id}`)).toMatchObject({
        status: 404,
        body: { type: "urn:problem:shop:unknown-dead-letter" },
      });
    }
  });
});

describe("POST /dead-letters/{id}/redrive", () => {
  it("redrives once, and says so when it is asked again", async () => {
    const id = await parked("redrive");
    const path = `/dead-letters/${id}/redrive`;
    const dry = await call(path, { by: "eve", dry_run: true });
    expect(dry.body).toMatchObject({ id, outcome: "would_redrive" });
    expect((await call(path, { by: "eve" })).body).toMatchObject({ id, outcome: "redriven" });
    const again = await call(path, { by: "eve" });
    expect(again).toMatchObject({
      status: 409,
      type: "application/problem+json",
      body: { status: "redriven", detail: expect.stringContaining("redriven by eve") },
    });
    expect((await call(path, {})).status).toBe(422);
  });

  it("refuses what its service would not decode, unless it is forced", async () => {
    const id = await parked("broken", { data: new Uint8Array([255]) });
    const path = `/dead-letters/${id}/redrive`;
    expect((await call(path, { by: "eve" })).body.type).toBe("urn:problem:shop:dead-letter-unreadable");
    expect((await call(path, { by: "eve", force: true })).body.outcome).toBe("redriven");
  });
});

describe("POST /dead-letters/{id}/discard", () => {
  it("wants to know who and why, and records it", async () => {
    const id = await parked("discard");
    const path = `/dead-letters/${id}/discard`;
    expect((await call(path, { by: "eve" })).status).toBe(422);
    expect((await call(path, { by: "eve", reason: "a test" })).body.outcome).toBe("discarded");
    expect((await call(`/dead-letters/${id}`)).body).toMatchObject({
      status: "discarded",
      by: "eve",
      note: "a test",
    });
  });
});

describe("POST /dead-letters/redrive", () => {
  it("redrives what matches, in parts if there is a limit, and reports each", async () => {
    const from = new Date().toISOString();
    const made: string[] = [];
    for (const n of [1, 2, 3]) made.push(await parked(`many-${n}`));
    made.push(await parked("many-4", { data: new Uint8Array([255]) }));
    const filter = { from, service: "inventory", type: "checkout.reserve_stock" };
    const dry = await call("/dead-letters/redrive", { by: "eve", filter, dry_run: true });
    expect(dry.body.counts).toEqual({ would_redrive: 3, would_fail: 1 });
    const first = await call("/dead-letters/redrive", { by: "eve", filter, limit: 2, rate: 1_000 });
    expect(first.body.results.map(({ id }: { id: string }) => id)).toEqual(made.slice(0, 2));
    const cursor = first.body.next_cursor;
    const rest = await call("/dead-letters/redrive", { by: "eve", filter, cursor });
    expect(rest.body.counts).toEqual({ redriven: 1, would_fail: 1 });
    expect(rest.body.next_cursor).toBeUndefined();
    expect(idsOf((await call(`/dead-letters?from=${from}`)).body)).toEqual(made.slice(3));
  });

  it("does not take a filter that it does not know", async () => {
    const body = { by: "eve", filter: { stream: "CHECKOUT" } };
    expect((await call("/dead-letters/redrive", body)).status).toBe(422);
  });
});
