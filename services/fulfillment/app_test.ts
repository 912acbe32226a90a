import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectService, consume, createApp, createLog, type Service } from "../../lib/mod.ts";
import { applyTopology, commit, encode, fulfillOrder, subjectOf } from "../../nats/mod.ts";
import { checked, namedHeaders, startNats, until } from "../../test/support/mod.ts";
import { routes } from "./app.ts";
import { readFulfillmentConfig } from "./config.ts";
import { handlers } from "./decide.ts";
import { unpackable } from "./sandbox.ts";

const stack = new AsyncDisposableStack();
let service: Service;
let app: ReturnType<typeof routes>;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  const config = readFulfillmentConfig({ NATS_URL: nats.url, OPERATOR_TOKEN: "x", LOG_LEVEL: "silent" });
  service = await connectService("fulfillment", { config, log: createLog("fulfillment"), stack });
  consume(service, handlers({ unpackable }));
  app = checked(routes(createApp(service), service));
});

afterAll(() => stack.disposeAsync());

interface OrderInit {
  customer?: { plan: string };
  lines?: { sku: string; quantity: number }[];
  shippingPriority?: string;
}

/** Stores the command twice, as the coordinator would once, and waits until both have been handled. */
async function fulfillTwice(orderId: string, init: OrderInit = {}): Promise<void> {
  const { connection, jsm } = service;
  const order = { orderId, customer: { plan: "standard" }, lines: [{ sku: "mug", quantity: 1 }], ...init };
  const data = encode(fulfillOrder, create(fulfillOrder.schema, { order }));
  let lastSeq = 0;
  for (let n = 1; n <= 2; n++) {
    const headers = await namedHeaders(service, fulfillOrder);
    const entry = { subject: subjectOf(fulfillOrder, orderId), data, headers };
    const outcome = await commit(connection, "CHECKOUT", [entry]);
    if (outcome.kind !== "committed") throw new Error(`Cannot store a command: ${outcome.kind}`);
    lastSeq = outcome.lastSeq;
  }
  await until("the commands to be handled", async () => {
    return (await jsm.consumers.info("CHECKOUT", "fulfillment")).ack_floor.stream_seq === lastSeq;
  });
}

/** How many messages the ledger holds about an order, by subject. */
async function stored(orderId: string): Promise<Record<string, number>> {
  const info = await service.jsm.streams.info("FULFILLMENT", { subjects_filter: `fulfillment.*.${orderId}` });
  return info.state.subjects ?? {};
}

async function shipmentOf(orderId: string): Promise<unknown> {
  const response = await app.request(`/shipments/${orderId}`);
  expect(response.status).toBe(200);
  return response.json();
}

const at = expect.stringMatching(/^\d{4}-.*Z$/);

describe("fulfillment", () => {
  it("ships an order once though the command comes twice", async () => {
    await fulfillTwice("o1", { shippingPriority: "express" });
    expect(await stored("o1")).toEqual({ "fulfillment.shipped.o1": 1 });
    expect(await shipmentOf("o1")).toEqual({
      order_id: "o1",
      kind: "shipment",
      status: "shipped",
      carrier: "Night Flight",
      tracking_number: "NF-o1",
      steps: [
        { name: "packed", at },
        { name: "shipped", at },
      ],
    });
  });

  it("activates a trial once though the command comes twice", async () => {
    await fulfillTwice("o2", { customer: { plan: "trial" } });
    expect(await stored("o2")).toEqual({ "fulfillment.activated.o2": 1 });
    expect(await shipmentOf("o2")).toEqual({
      order_id: "o2",
      kind: "activation",
      status: "activated",
      steps: [{ name: "activated", at }],
    });
  });

  it("fails an order once though the command comes twice", async () => {
    await fulfillTwice("o3", { lines: [{ sku: "broken", quantity: 1 }] });
    expect(await stored("o3")).toEqual({ "fulfillment.failed.o3": 1 });
    expect(await shipmentOf("o3")).toEqual({
      order_id: "o3",
      kind: "shipment",
      status: "failed",
      failure: 'Cannot pack "broken": it fell off the shelf',
      steps: [{ name: "failed", at }],
    });
  });

  it.each(["ghost", "no*such.order", "%3E", "o".repeat(65)])("knows no shipment of %s", async (orderId) => {
    const response = await app.request(`/shipments/${orderId}`);
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
  });
});
