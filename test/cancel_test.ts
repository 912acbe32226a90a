import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { audit, exampleOrder, flaggedAddress, openShop, openStreams, type TestShop } from "./support/mod.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await openShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

const placed: { id: string; lines: typeof exampleOrder.lines }[] = [];

function cancel(id: string) {
  return shop.call("order", `/orders/${id}/cancel`, { method: "POST" });
}

/** Places an order and cancels it once it is in `state`, which it cannot leave while `stopped` is down. */
async function cancelIn(
  state: string,
  { stopped, changes = {} }: { stopped?: string; changes?: Record<string, unknown> },
): Promise<{ id: string; status: number; body: Record<string, unknown> }> {
  if (stopped !== undefined) await shop.shop.stop(stopped);
  const id = await shop.place(changes);
  placed.push({ id, lines: (changes.lines as typeof exampleOrder.lines | undefined) ?? exampleOrder.lines });
  await shop.reaches(id, state);
  const { status, body } = await cancel(id);
  if (stopped !== undefined) await shop.shop.start(stopped);
  return { id, status, body };
}

describe("a customer's cancel", () => {
  it.each([
    ["created", { stopped: "coordinator" }],
    ["reserving", { stopped: "inventory" }],
    ["screening", { stopped: "fraud" }],
    ["in_review", { changes: { shipping_address: flaggedAddress } }],
    ["charging", { stopped: "payment" }],
  ])("is honoured in %s", async (state, circumstances) => {
    const { id, status } = await cancelIn(state, circumstances);
    expect(status).toBe(202);
    expect(await shop.ends(id)).toMatchObject({ state: "cancelled", reason: "customer_request" });
  });

  it("is refused in fulfilling, with a reason", async () => {
    const { id, status, body } = await cancelIn("fulfilling", { stopped: "fulfillment" });
    expect(status).toBe(409);
    expect(body).toMatchObject({
      type: expect.stringContaining("too-late"),
      detail: expect.stringContaining("fulfil"),
    });
    expect(await shop.ends(id)).toMatchObject({ state: "completed" });
  });

  it("is refused for an order that is completed", async () => {
    const { status } = await cancelIn("completed", {});
    expect(status).toBe(409);
  });

  it("does not change the reason of an order that is being refunded", async () => {
    await shop.shop.stop("fulfillment");
    const lines = [{ sku: "broken", quantity: 1 }];
    const id = await shop.place({ lines });
    placed.push({ id, lines });
    await shop.reaches(id, "fulfilling");
    await shop.shop.stop("payment");
    await shop.shop.start("fulfillment");
    await shop.reaches(id, "refunding");
    expect((await cancel(id)).status).toBe(202);
    await shop.shop.start("payment");
    expect(await shop.ends(id)).toMatchObject({ state: "cancelled", reason: "fulfillment_failed" });
  });

  it("does not change the reason of an order whose stock is being released", async () => {
    await shop.shop.stop("payment");
    const id = await shop.place({ payment_token: "tok_declined" });
    placed.push({ id, lines: exampleOrder.lines });
    await shop.reaches(id, "charging");
    await shop.shop.stop("inventory");
    await shop.shop.start("payment");
    await shop.reaches(id, "releasing");
    expect((await cancel(id)).status).toBe(202);
    await shop.shop.start("inventory");
    expect(await shop.ends(id)).toMatchObject({ state: "cancelled", reason: "payment_declined" });
  });

  it("gets the same answer when it is sent again", async () => {
    const { id, body } = await cancelIn("in_review", { changes: { shipping_address: flaggedAddress } });
    await shop.ends(id);
    const again = await cancel(id);
    expect(again.status).toBe(202);
    expect(again.body.order_id).toBe(body.order_id);
  });

  it("leaves money and stock in balance, and no review open", async () => {
    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet();
    await audit(shop, placed, { mug: 1_000_000, broken: 1_000 });
    const { body } = await shop.call("fraud", "/reviews", { headers: { authorization: "Bearer dev" } });
    expect(body).toMatchObject({ reviews: [] });
  });
});
