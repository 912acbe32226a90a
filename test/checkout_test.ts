import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { splitSubject } from "../nats/mod.ts";
import {
  audit,
  exampleOrder,
  flaggedAddress,
  openShop,
  openStreams,
  operator,
  readMailboxes,
  sentMails,
  type TestShop,
  until,
} from "./support/mod.ts";

let shop: TestShop;
beforeAll(async () => {
  // Shorter than a person would want, longer than a commit takes.
  shop = await openShop({ CHARGING_DEADLINE_MS: "2000", SANDBOX_SLOW_MS: "4000", REVIEW_TTL_MS: "3000" });
});
afterAll(() => shop[Symbol.asyncDispose]());

const initial = { mug: 1_000_000, desk: 1_000, "last-one": 1, "sold-out": 0, broken: 1_000 };

function path(history: readonly { state: string }[]): string {
  return history.map(({ state }) => state).join(" ");
}

async function review(id: string, decision: "approve" | "reject") {
  return shop.call("fraud", `/reviews/${id}/decision`, {
    method: "POST",
    headers: operator,
    body: { decision, reviewer: "eve", note: "called the customer" },
  });
}

describe("an order of the sandbox", () => {
  const placed: { id: string; lines: { sku: string; quantity: number }[] }[] = [];
  async function place(changes: Partial<typeof exampleOrder> = {}): Promise<string> {
    const id = await shop.place(changes);
    placed.push({ id, lines: changes.lines ?? exampleOrder.lines });
    return id;
  }

  it("is completed and shipped", async () => {
    const order = await shop.ends(await place());
    expect(path(order.history)).toBe("created reserving screening charging fulfilling completed");
    expect(order).toMatchObject({ state: "completed", total_cents: 1_200, currency: "EUR" });
    expect(order.reason).toBeUndefined();
    const { body } = await shop.call("fulfillment", `/shipments/${order.order_id}`);
    expect(body).toMatchObject({ kind: "shipment", status: "shipped" });
  });

  it("of a trial plan is activated, and nothing is shipped", async () => {
    const id = await place({ customer: { ...exampleOrder.customer, plan: "trial" } });
    expect(await shop.ends(id)).toMatchObject({ state: "completed" });
    const { body } = await shop.call("fulfillment", `/shipments/${id}`);
    expect(body).toMatchObject({ kind: "activation", status: "activated" });
    expect(body.tracking_number).toBeUndefined();
  });

  it("is cancelled when it is sold out", async () => {
    const order = await shop.ends(await place({ lines: [{ sku: "sold-out", quantity: 1 }] }));
    expect(order).toMatchObject({ state: "cancelled", reason: "out_of_stock" });
    expect(path(order.history)).toBe("created reserving cancelled");
  });

  it("is cancelled when the card is declined", async () => {
    const order = await shop.ends(await place({ payment_token: "tok_declined" }));
    expect(order).toMatchObject({ state: "cancelled", reason: "payment_declined" });
    expect(path(order.history)).toBe("created reserving screening charging releasing cancelled");
  });

  it("is completed when the provider fails twice", async () => {
    expect(await shop.ends(await place({ payment_token: "tok_flaky" }))).toMatchObject({
      state: "completed",
    });
  });

  it("is refunded when fulfilment fails", async () => {
    const order = await shop.ends(await place({ lines: [{ sku: "broken", quantity: 2 }] }));
    expect(order).toMatchObject({ state: "cancelled", reason: "fulfillment_failed" });
    expect(path(order.history)).toBe(
      "created reserving screening charging fulfilling refunding releasing cancelled",
    );
    const { body } = await shop.call("payment", `/payments/${order.order_id}`);
    expect(body).toMatchObject({ status: "refunded", captured_cents: 1_400, refunded_cents: 1_400 });
  });

  it("times out when the provider answers late, and the late capture is refunded", async () => {
    const order = await shop.ends(await place({ payment_token: "tok_slow" }));
    expect(order).toMatchObject({ state: "cancelled", reason: "timed_out" });
    const { body } = await shop.call("payment", `/payments/${order.order_id}`);
    expect(body).toMatchObject({ status: "refunded", captured_cents: 1_200, refunded_cents: 1_200 });
  });

  it("waits for a person when its address is flagged, and goes on when approved", async () => {
    const id = await place({ shipping_address: flaggedAddress });
    await shop.reaches(id, "in_review");
    const { body } = await shop.call<{ reviews: { order_id: string; evidence: { rule: string }[] }[] }>(
      "fraud",
      "/reviews",
      { headers: operator },
    );
    expect(body.reviews.find((open) => open.order_id === id)?.evidence).toMatchObject([
      { rule: "freight_forwarder" },
    ]);
    expect((await review(id, "approve")).status).toBe(200);
    const order = await shop.ends(id);
    expect(path(order.history)).toBe("created reserving screening in_review charging fulfilling completed");
  });

  it("is cancelled when the review rejects it", async () => {
    const id = await place({ shipping_address: flaggedAddress });
    await shop.reaches(id, "in_review");
    expect((await review(id, "reject")).status).toBe(200);
    expect(await shop.ends(id)).toMatchObject({ state: "cancelled", reason: "review_rejected" });
  });

  it("is cancelled when nobody reviews it, and no decision is taken after that", async () => {
    const id = await place({ shipping_address: flaggedAddress });
    expect(await shop.ends(id)).toMatchObject({ state: "cancelled", reason: "review_expired" });
    expect((await review(id, "approve")).status).toBe(409);
  });

  it("is told to the customer by one mail when it is placed and one when it ends", async () => {
    const folder = join(shop.folder, "mail");
    for (const { id } of placed) {
      const order = await shop.ends(id);
      const mails = await until(`both mails of ${id}`, async () => {
        const own = (await sentMails(folder)).filter((messageId) => messageId.startsWith(`<${id}.`));
        return own.length >= 2 ? own : undefined;
      });
      const expected = ["received", order.state].map((kind) => `<${id}.order_${kind}@jetstream-checkout>`);
      expect(mails.sort()).toEqual(expected.sort());
    }
    const messageId = `<${placed[0]?.id}.order_completed@jetstream-checkout>`;
    const mail = (await readMailboxes(folder)).find((stored) => stored.messageId === messageId);
    expect(mail?.source).toMatch(/^To: ada@example\.com$/m);
  });

  it("leaves money and stock in balance to the unit", async () => {
    await audit(shop, placed, initial);
  });
});

describe("twenty buyers of the last one at once", () => {
  it("make one sale and nineteen out_of_stock", async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => shop.place({ lines: [{ sku: "last-one", quantity: 1 }] })),
    );
    const lines = [{ sku: "last-one", quantity: 1 }];
    const orders = await audit(
      shop,
      ids.map((id) => ({ id, lines })),
      { "last-one": 1 },
    );
    const ends = orders.map(({ state, reason }) => reason ?? state).sort();
    expect(ends).toEqual(["completed", ...Array.from({ length: 19 }, () => "out_of_stock")].sort());
  });
});

describe("a trace", () => {
  const hops = [
    "order.created",
    "checkout.state",
    ...["checkout.reserve_stock", "inventory.reservation", "inventory.stock_reserved"],
    ...["checkout.screen_order", "fraud.order_cleared"],
    ...["checkout.charge_payment", "payment.payment", "payment.captured"],
    ...["checkout.fulfill_order", "fulfillment.shipped"],
    ...["checkout.completed", "notification.mail"],
  ];

  it("goes from the request through every hop", async () => {
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const { body } = await shop.call<{ order_id: string }>("order", "/orders", {
      method: "POST",
      body: exampleOrder,
      headers: { "idempotency-key": "traced", traceparent: `00-${trace}-00f067aa0ba902b7-01` },
    });
    await shop.ends(body.order_id);
    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet();
    const messages = await streams.messagesOf(body.order_id);
    const kinds = new Set(messages.map(({ subject }) => splitSubject(subject).prefix));
    expect([...kinds]).toEqual(expect.arrayContaining(hops));
    for (const { subject, headers } of messages) {
      expect(headers.get("traceparent"), subject).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
      expect(headers.get("ce-specversion"), subject).toBe("1.0");
      expect(headers.get("ce-subject"), subject).toContain(body.order_id);
      expect(headers.get("ce-type"), subject).toMatch(/^shop\.[a-z]+\.v1\.[A-Z]/);
      expect(headers.get("content-type"), subject).toBe("application/protobuf");
    }
  });
});
