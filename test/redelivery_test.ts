import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { consumerConfig, topology } from "../nats/mod.ts";
import { services } from "../services/mod.ts";
import {
  audit,
  type Counted,
  countLedgers,
  exampleOrder,
  flaggedAddress,
  openShop,
  openStreams,
  operator,
  readLedgers,
  type TestShop,
} from "./support/mod.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await openShop({ CHARGING_DEADLINE_MS: "2000", SANDBOX_SLOW_MS: "3000" }, { analytics: true });
});
afterAll(() => shop[Symbol.asyncDispose]());

describe("a duplicate of every message", () => {
  it("changes nothing: all consumers start again from the first message", async () => {
    const kinds: Record<string, unknown>[] = [
      {},
      { customer: { ...exampleOrder.customer, plan: "trial" } },
      { lines: [{ sku: "sold-out", quantity: 1 }] },
      { lines: [{ sku: "broken", quantity: 1 }] },
      { payment_token: "tok_declined" },
      { payment_token: "tok_flaky" },
      { payment_token: "tok_slow" },
      { shipping_address: flaggedAddress },
      { shipping_address: flaggedAddress, customer: { ...exampleOrder.customer, id: "cus_2" } },
      { shipping_address: flaggedAddress, customer: { ...exampleOrder.customer, id: "cus_3" } },
    ];
    const ids = await Promise.all(kinds.map((changes) => shop.place(changes)));
    const [approved = "", rejected = "", cancelled = ""] = ids.slice(-3);
    await Promise.all([approved, rejected, cancelled].map((id) => shop.reaches(id, "in_review")));
    const decide = (id: string, decision: string) =>
      shop.call("fraud", `/reviews/${id}/decision`, {
        method: "POST",
        headers: operator,
        body: { decision, reviewer: "eve", note: "" },
      });
    await decide(approved, "approve");
    await decide(rejected, "reject");
    await shop.call("order", `/orders/${cancelled}/cancel`, { method: "POST" });
    const placed = ids.map((id, index) => ({
      id,
      lines: (kinds[index]?.lines as typeof exampleOrder.lines | undefined) ?? exampleOrder.lines,
    }));
    const initial = { mug: 1_000_000, broken: 1_000, "sold-out": 0 };
    const before = await audit(shop, placed, initial);

    await using streams = await openStreams(shop.shop.operator);
    await streams.quiet({ projections: true });
    const counted = async () => (await shop.call<Counted>("analytics", "/summary")).body;
    const countedBefore = await counted();
    expect(countedBefore).toMatchObject(countLedgers(await readLedgers(streams.jsm)));
    const sequences = await streams.lastSequences();

    // Each service comes back with an empty cache and is handed all that was ever said to it.
    await Promise.all(services.map(({ name }) => shop.shop.stop(name)));
    for (const spec of topology.consumers) {
      await streams.jsm.consumers.delete(spec.stream, spec.service);
      await streams.jsm.consumers.add(spec.stream, consumerConfig(spec));
    }
    await Promise.all(services.map(({ name }) => shop.shop.start(name)));
    await streams.quiet({ projections: true });

    expect(await streams.lastSequences()).toEqual(sequences);
    expect(await audit(shop, placed, initial)).toEqual(before);
    expect(await counted()).toEqual(countedBefore);
  });
});
