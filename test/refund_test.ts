import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import { type OrderView, openShop, operator, type TestShop, until } from "./support/mod.ts";

/** An order that cannot be shipped, so that its money goes back. */
const broken = { lines: [{ sku: "broken", quantity: 1 }] };

describe("a refund that the provider does not make", () => {
  let shop: TestShop;
  beforeAll(async () => {
    shop = await openShop();
  });
  afterAll(() => shop[Symbol.asyncDispose]());

  type Refunding = OrderView & { refund?: Record<string, unknown> };

  const shown = (id: string) =>
    until("the order to say what it waits for", async () => {
      const order: Refunding = await shop.order(id);
      return order.refund !== undefined && order;
    });
  const ops = async (...args: string[]) => {
    const { output, text } = collect();
    const { servers, nkeyFile } = shop.shop.operator;
    const environment = { NATS_URL: servers, NATS_NKEY_FILE: nkeyFile, DATA_DIR: shop.folder };
    return { code: await runOps(args, { output, environment }), ...text() };
  };

  it("is waited for while it is pending, and the order says so", async () => {
    const id = await shop.place({ ...broken, payment_token: "tok_refund_pending" });
    expect(await shown(id)).toMatchObject({
      state: "refunding",
      refund: { waits_for: "provider", reason: "the refund is pending", tries: 1 },
    });
    const { out } = await ops("order", id);
    expect(out).toContain("checkout.refund_payment was tried 1 time, and is again at");
  });

  it("is settled by a person once it is refused, as docs/operations.md says, and the books balance", async () => {
    const id = await shop.place({ ...broken, payment_token: "tok_refund_refused" });
    expect(await shown(id)).toMatchObject({
      state: "refunding",
      refund: { waits_for: "person", reason: "charge_disputed", since: expect.any(String) },
    });
    const listed = await shop.call<{ refunds: { order_id: string }[] }>("payment", "/refunds", {
      headers: operator,
    });
    expect(listed.body.refunds.map(({ order_id }) => order_id)).toEqual([id]);

    const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
    const [, body = ""] = /-d '({"settled_by".*})'/.exec(page) ?? [];
    const settled = await shop.call("payment", `/payments/${id}/settlement`, {
      method: "POST",
      headers: operator,
      body: { ...JSON.parse(body), amount_cents: (await shop.order(id)).total_cents },
    });
    expect(settled).toMatchObject({ status: 200, body: { status: "refunded" } });
    expect(await shop.ends(id)).toMatchObject({ state: "cancelled", reason: "fulfillment_failed" });
    expect(await ops("reconcile")).toMatchObject({
      code: 0,
      err: expect.stringContaining("no violation"),
    });
    const { out } = await ops("order", id);
    expect(out).toContain("the provider will not refund: a person has to settle it");
    expect(out).toContain("settled by: ada; note: bank transfer of 31 January");
  });
});
