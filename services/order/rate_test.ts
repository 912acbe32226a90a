import { describe, expect, it } from "vitest";
import { readOrderConfig } from "./config.ts";
import { body, openShop } from "./test_shop.ts";

describe("POST /orders with a rate limit", () => {
  it("answers 429 to the client that sends too many, and to nobody else", async () => {
    // So slow that no allowance comes back while the test runs.
    await using shop = await openShop({ rateLimit: { perSecond: 0.01, burst: 2, trustedProxies: 1 } });
    await shop.price("mug", 1_200n);
    const place = (client: string) => shop.post(body, { "x-forwarded-for": client });
    const first = await Promise.all([place("1.1.1.1"), place("1.1.1.1")]);
    expect(first.map(({ status }) => status === 429)).toEqual([false, false]);
    const refused = await place("1.1.1.1");
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(100);
    expect((await place("2.2.2.2")).status).not.toBe(429);
    expect((await shop.app.request("/orders", { headers: { "x-forwarded-for": "1.1.1.1" } })).status).toBe(
      200,
    );
  });
});

describe("readOrderConfig()", () => {
  const wanted = { NATS_URL: "nats://127.0.0.1:4222", OPERATOR_TOKEN: "x" };

  it("has no rate limit unless it is told to", () => {
    expect(readOrderConfig(wanted).ORDER_RATE_LIMIT).toBeUndefined();
    expect(readOrderConfig({ ...wanted, ORDER_RATE_LIMIT: "2.5" })).toMatchObject({
      ORDER_RATE_LIMIT: 2.5,
      ORDER_RATE_BURST: 20,
      TRUSTED_PROXIES: 0,
    });
  });

  it("takes no credential in a URL, and does not repeat it", () => {
    const config = { ...wanted, NATS_URL: "nats://shop:hunter2@127.0.0.1" };
    expect(() => readOrderConfig(config)).toThrow("correct NATS_URL (a URL takes no user or password)");
    expect(() => readOrderConfig(config)).not.toThrow("hunter2");
  });
});
