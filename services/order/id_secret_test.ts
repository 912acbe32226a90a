import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StartError } from "../../lib/mod.ts";
import {
  applyTopology,
  checkoutState,
  commit,
  idempotencyKey,
  key,
  Ledger,
  MAX_BATCH_MESSAGES,
  message,
  newHeaders,
  orderCreated,
  orderIdSecret,
} from "../../nats/mod.ts";
import { type NatsServer, silent, startNats } from "../../test/support/mod.ts";
import { openOrderIds } from "./id_secret.ts";
import { store } from "./test_shop.ts";

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
    const told: string[] = [];
    const log = { ...silent, error: (_: object, text: string) => void told.push(text) };
    return { jsm, ledger, log, told, signal, [Symbol.asyncDispose]: () => ledger.shutdown() };
  }
  type Process = Awaited<ReturnType<typeof openProcess>>;

  const secretOf = async ({ ledger }: Process, copy: string) =>
    (await ledger.read(key(orderIdSecret, copy))).value?.secret;
  const storeSecret = ({ ledger }: Process, copy: string, secret: Uint8Array) =>
    store(ledger, message(orderIdSecret, copy, { secret }));
  /** One bit of the secret, where it is first stored in the stream's first file. */
  const flip = (secret: Uint8Array) =>
    nats.restart(async (store) => {
      const path = join(store, "jetstream", "$G", "streams", "ORDER", "msgs", "1.blk");
      const file = await readFile(path);
      const at = file.indexOf(secret);
      expect(at).toBeGreaterThan(0);
      file.writeUInt8(file.readUInt8(at) ^ 1, at);
      await writeFile(path, file);
    });
  const placeOrder = ({ ledger }: Process, idSecretFingerprint: Uint8Array) => {
    const orderId = `ord_${randomUUID()}`;
    return store(ledger, message(orderCreated, orderId, { order: { orderId }, idSecretFingerprint }));
  };

  it("has one secret for all processes, also when they start at the same time, and again", async () => {
    await using a = await openProcess();
    await using b = await openProcess();
    const [ofA, ofB] = await Promise.all([openOrderIds(a), openOrderIds(b)]);
    expect(ofA.idOf("k")).toBe(ofB.idOf("k"));
    await using c = await openProcess();
    expect((await openOrderIds(c)).idOf("k")).toBe(ofA.idOf("k"));
    expect((await a.jsm.streams.info("ORDER")).state.messages).toBe(2);
    for (const copy of ["shop", "spare"]) expect(await secretOf(a, copy)).toHaveLength(32);
  });

  it("stores a copy that is lost again, and says so", async () => {
    await using first = await openProcess();
    const { idOf } = await openOrderIds(first);
    for (const copy of ["shop", "spare"]) {
      await first.jsm.streams.purge("ORDER", { filter: `${orderIdSecret.subject}.${copy}` });
      await using next = await openProcess();
      expect((await openOrderIds(next)).idOf("k")).toBe(idOf("k"));
      expect(next.told).toEqual(["a copy of the secret of order ids is stored again: it is missing"]);
      expect(await secretOf(next, "shop")).toEqual(await secretOf(next, "spare"));
    }
  });

  it("stores a copy again that fits no order, whichever it is", async () => {
    await using first = await openProcess();
    const ids = await openOrderIds(first);
    await placeOrder(first, ids.fingerprint);
    for (const copy of ["shop", "spare"]) {
      await storeSecret(first, copy, new Uint8Array(32).fill(7));
      await using next = await openProcess();
      expect((await openOrderIds(next)).idOf("k")).toBe(ids.idOf("k"));
      expect(next.told).toEqual(["a copy of the secret of order ids is stored again: it fits no order"]);
      expect(await secretOf(next, "shop")).toEqual(await secretOf(next, "spare"));
    }
  });

  it("does not open where a bit that flipped has taken both copies and the orders, and others know of orders", async () => {
    await using first = await openProcess();
    const ids = await openOrderIds(first);
    await placeOrder(first, ids.fingerprint);
    await flip((await secretOf(first, "shop")) as Uint8Array);
    await using next = await openProcess();
    expect((await next.jsm.streams.info("ORDER")).state.messages).toBe(0);
    const { connection } = await nats.connect();
    await using checkouts = new Ledger(connection, { stream: "CHECKOUT", source: "/test", log: silent });
    await store(checkouts, message(checkoutState, "ord_1", { state: "reserving" }));
    await expect(openOrderIds(next)).rejects.toThrow("the secret that their ids were made with is lost");
  });

  it("does not open where there are orders and no secret, until it is told to make another one", async () => {
    await using first = await openProcess();
    const ids = await openOrderIds(first);
    await placeOrder(first, ids.fingerprint);
    await first.jsm.streams.purge("ORDER", { filter: `${orderIdSecret.subject}.>` });
    await using next = await openProcess();
    const refusal = openOrderIds(next);
    await expect(refusal).rejects.toThrow(StartError);
    await expect(refusal).rejects.toThrow("the secret that their ids were made with is lost");
    await expect(refusal).rejects.toThrow("ORDER_ID_SECRET=replace");
    const replaced = await openOrderIds({ ...next, replace: true });
    expect(replaced.idOf("k")).not.toBe(ids.idOf("k"));
    await placeOrder(next, replaced.fingerprint);
    expect((await openOrderIds(next)).idOf("k")).toBe(replaced.idOf("k"));
    expect((await openOrderIds({ ...next, replace: true })).idOf("k")).toBe(replaced.idOf("k"));
  });

  it("does not open where the secret fits no order", async () => {
    await using first = await openProcess();
    const ids = await openOrderIds(first);
    await placeOrder(first, ids.fingerprint);
    for (const copy of ["shop", "spare"]) await storeSecret(first, copy, new Uint8Array(32).fill(7));
    await using next = await openProcess();
    await expect(openOrderIds(next)).rejects.toThrow("is not the one that their ids were made with");
  });

  it("does not choose between two secrets where the orders do not say which is theirs", async () => {
    await using first = await openProcess();
    await openOrderIds(first);
    await placeOrder(first, new Uint8Array());
    expect(await openOrderIds(first)).toBeDefined();
    await storeSecret(first, "spare", new Uint8Array(32).fill(7));
    await using next = await openProcess();
    await expect(openOrderIds(next)).rejects.toThrow("there are two secrets");
  });

  it("stores the spare again once it lies far back, so that a bit that flips does not take both copies", async () => {
    await using first = await openProcess();
    const { idOf } = await openOrderIds(first);
    const { seq: before } = await first.ledger.read(key(orderIdSecret, "spare"));
    const { connection } = await nats.connect();
    // More than a file of the stream holds.
    for (let batch = 0; batch <= 20; batch++) {
      const entries = Array.from({ length: MAX_BATCH_MESSAGES }, () => {
        return { subject: "order.other.x", data: new Uint8Array(600), headers: newHeaders() };
      });
      expect((await commit(connection, "ORDER", entries)).kind).toBe("committed");
    }
    await using next = await openProcess();
    expect((await openOrderIds(next)).idOf("k")).toBe(idOf("k"));
    expect(next.told).toEqual([]);
    expect((await next.ledger.read(key(orderIdSecret, "spare"))).seq).toBeGreaterThan(before + 20_000);
    await flip((await secretOf(next, "shop")) as Uint8Array);
    await using last = await openProcess();
    expect(await secretOf(last, "shop")).toBeUndefined();
    expect((await openOrderIds(last)).idOf("k")).toBe(idOf("k"));
    expect(last.told).toHaveLength(1);
  });

  it("refuses a ledger of an older version, and says what to do", async () => {
    await using process = await openProcess();
    await store(process.ledger, message(idempotencyKey, "hash", { orderId: "ord_1", requestHash: "r" }));
    await expect(openOrderIds(process)).rejects.toThrow(
      expect.objectContaining({ name: "StartError", message: expect.stringContaining("nats stream purge") }),
    );
    await process.jsm.streams.purge("ORDER", { filter: `${idempotencyKey.subject}.>` });
    expect((await openOrderIds(process)).idOf("k")).toMatch(/^ord_/);
  });

  it("ends with its signal", async () => {
    await using process = await openProcess();
    await process.ledger.shutdown();
    await expect(openOrderIds({ ...process, signal: AbortSignal.abort() })).rejects.toThrow(Error);
  });
});
