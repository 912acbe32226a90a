import { describe, expect, it } from "vitest";
import { until } from "../../test/support/mod.ts";
import { orderIds } from "./order_id.ts";
import { body, openShop, readJson } from "./test_shop.ts";

describe("orderIds()", () => {
  const ids = orderIds(new Uint8Array(32).fill(1));

  it("makes the same id of the same key, a token whatever the key is", () => {
    for (const text of ["a key * > .", "a", "A", "x".repeat(255)]) {
      expect(ids.idOf(text)).toMatch(/^ord_[0-9a-f]{32}$/);
      expect(ids.idOf(text)).toBe(ids.idOf(text));
    }
    expect(ids.idOf("a")).not.toBe(ids.idOf("A"));
  });

  it("makes another one with another secret, so that nobody can tell it from the key", () => {
    const others = orderIds(new Uint8Array(32).fill(2));
    expect(others.idOf("a")).not.toBe(ids.idOf("a"));
    expect(others.fingerprint).toHaveLength(8);
    expect(others.fingerprint).not.toEqual(ids.fingerprint);
  });
});

describe("POST /orders on two processes with one ledger", () => {
  it("is one order for one key, and replayed by the process that was slower", async () => {
    await using shop = await openShop();
    await using other = await openShop({ beside: shop });
    await shop.price("mug", 1_200n);
    await until("the price", async () => (await shop.post(body)).status === 202);
    const before = await shop.messages();
    const headers = { "idempotency-key": "both" };
    const answers = await Promise.all([shop.post(body, headers), other.post(body, headers)]);
    expect(answers.map(({ status }) => status)).toEqual([202, 202]);
    const [first, second] = await Promise.all(answers.map(readJson));
    expect(first).toEqual(second);
    const replayed = answers.map((answer) => answer.headers.get("idempotency-replayed"));
    expect(replayed.toSorted()).toEqual(["true", null].toSorted());
    expect(await shop.messages()).toBe(before + 1);
    const refused = await other.post({ ...body, payment_token: "tok_slow" }, headers);
    expect(refused.status).toBe(422);
  });

  it("says 503 and stores nothing before the process knows the secret", async () => {
    await using shop = await openShop({ orderIds: () => undefined });
    const before = await shop.messages();
    const answer = await shop.post(body);
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(await shop.messages()).toBe(before);
  });
});
