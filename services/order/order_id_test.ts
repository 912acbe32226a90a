import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { applyTopology, idempotencyKey, key, Ledger, message, orderIdSecret } from "../../nats/mod.ts";
import { type NatsServer, silent, startNats, until } from "../../test/support/mod.ts";
import { openOrderIds, orderIds } from "./order_id.ts";
import { body, openShop, readJson, store } from "./test_shop.ts";

describe("orderIds()", () => {
  const ids = orderIds(new Uint8Array(32).fill(1));

  it("makes the same id of the same key, a token whatever the key is", () => {
    for (const text of ["a key * > .", "a", "A", "x".repeat(255)]) {
      expect(ids(text)).toMatch(/^ord_[0-9a-f]{32}$/);
      expect(ids(text)).toBe(ids(text));
    }
    expect(ids("a")).not.toBe(ids("A"));
  });

  it("makes another one with another secret, so that nobody can tell it from the key", () => {
    expect(orderIds(new Uint8Array(32).fill(2))("a")).not.toBe(ids("a"));
  });
});

describe("openOrderIds()", () => {
  let nats: NatsServer;
  beforeEach(async () => {
    nats = await startNats();
    await applyTopology({ servers: nats.url });
  });
  afterEach(() => nats[Symbol.asyncDispose]());

  async function openProcess() {
    const { connection, jsm } = await nats.connect();
    const ledger = new Ledger(connection, {
      stream: "ORDER",
      source: "/services/order",
      log: silent,
    });
    const { signal } = new AbortController();
    return { jsm, ledger, log: silent, signal, [Symbol.asyncDispose]: () => ledger.shutdown() };
  }

  it("has one secret for all processes, also when they start at the same time, and again", async () => {
    await using a = await openProcess();
    await using b = await openProcess();
    const [ofA, ofB] = await Promise.all([openOrderIds(a), openOrderIds(b)]);
    expect(ofA("k")).toBe(ofB("k"));
    await using c = await openProcess();
    expect((await openOrderIds(c))("k")).toBe(ofA("k"));
    expect((await a.jsm.streams.info("ORDER")).state.messages).toBe(1);
    const { value } = await a.ledger.read(key(orderIdSecret, "shop"));
    expect(value?.secret).toHaveLength(32);
  });

  it("refuses a ledger of an older version, and says what to do", async () => {
    await using process = await openProcess();
    await store(process.ledger, message(idempotencyKey, "hash", { orderId: "ord_1", requestHash: "r" }));
    await expect(openOrderIds(process)).rejects.toThrow(
      expect.objectContaining({ name: "StartError", message: expect.stringContaining("nats stream purge") }),
    );
    await process.jsm.streams.purge("ORDER", { filter: `${idempotencyKey.subject}.>` });
    await expect(openOrderIds(process)).resolves.toBeInstanceOf(Function);
  });

  it("ends with its signal", async () => {
    await using process = await openProcess();
    await process.ledger.shutdown();
    await expect(openOrderIds({ ...process, signal: AbortSignal.abort() })).rejects.toThrow(Error);
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
