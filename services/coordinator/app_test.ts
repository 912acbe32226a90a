import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import { connectService, createApp, createLog, type Service } from "../../lib/mod.ts";
import { applyTopology, checkoutState, key, newTrace } from "../../nats/mod.ts";
import { checked, startNats } from "../../test/support/mod.ts";
import { routes } from "./app.ts";
import { readCoordinatorConfig } from "./config.ts";
import { type Deadlines, decide } from "./decide.ts";
import { checkoutOf } from "./handlers.ts";
import type { Event } from "./table.ts";

const stack = new AsyncDisposableStack();
let service: Service;
let deadlines: Deadlines;
let app: ReturnType<typeof routes>;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  const config = readCoordinatorConfig({ NATS_URL: nats.url, OPERATOR_TOKEN: "x", LOG_LEVEL: "silent" });
  deadlines = config.deadlines;
  service = await connectService("coordinator", { config, log: createLog("coordinator"), stack });
  app = checked(routes(createApp(service), service));
});
afterAll(() => stack.disposeAsync());

// Far ahead, so that no timer fires while the test looks at its checkout.
const now = new Date("2099-01-01T00:00:00Z");

async function happen(orderId: string, ...happened: Event[]): Promise<void> {
  const order = create(OrderSchema, {
    orderId,
    placedAt: timestampFromDate(now),
    paymentToken: "tok_visa",
  });
  for (const event of happened) {
    await service.ledger.execute({
      keys: [key(checkoutState, orderId)],
      trace: newTrace(),
      decide: (view) => ({
        messages: decide(checkoutOf(view, orderId), { event, now, order }, deadlines),
        result: undefined,
      }),
    });
  }
}

async function get(orderId: string): Promise<{ status: number; body: unknown }> {
  const answer = await app.request(`/checkouts/${orderId}`);
  return { status: answer.status, body: await answer.json() };
}

describe("GET /checkouts/{order}", () => {
  it("says where a checkout stands and what it waits for", async () => {
    await happen("o1", "order.created", "fraud.order_cleared");
    expect(await get("o1")).toEqual({
      status: 200,
      body: {
        order_id: "o1",
        state: "reserving",
        deadline: new Date(now.getTime() + deadlines.reserving).toISOString(),
        deferred: ["fraud.order_cleared"],
        compensated: [],
      },
    });
  });

  it("says why it was cancelled and what was undone after that, and has no deadline then", async () => {
    await happen("o2", "order.created", "inventory.stock_rejected", "fraud.order_flagged");
    expect(await get("o2")).toEqual({
      status: 200,
      body: {
        order_id: "o2",
        state: "cancelled",
        reason: "out_of_stock",
        deferred: [],
        compensated: ["fraud.order_flagged"],
      },
    });
  });

  it("shows nothing of the means of payment", async () => {
    await happen("o3", "order.created");
    expect(JSON.stringify(await get("o3"))).not.toContain("tok_");
  });

  it.each(["ghost", "a.b", "*", "%3E", "x".repeat(500)])("knows no %j", async (orderId) => {
    const { status, body } = await get(orderId);
    expect(status).toBe(404);
    expect(body).toMatchObject({ type: "urn:problem:shop:unknown-checkout", status: 404 });
  });
});
