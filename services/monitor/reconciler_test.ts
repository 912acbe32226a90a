import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  applyTopology,
  checkoutCompleted,
  checkoutState,
  commit,
  discardDeadLetter,
  encode,
  item,
  message,
  newHeaders,
  type Outgoing,
  orderCreated,
  orderShipped,
  payment,
  paymentCaptured,
  reservation,
  stockReserved,
} from "../../nats/mod.ts";
import { type Client, drained, parkNext, startNats, until } from "../../test/support/mod.ts";
import { Reconciler } from "./reconciler.ts";

const lines = [{ sku: "mug", quantity: 2 }];
let stack: AsyncDisposableStack;
let client: Client;
let reconciler: Reconciler;
let logged: { invariant?: string; violated_by?: string }[];
let now: number;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  client = await nats.connect();
  now = Date.now();
  logged = [];
  reconciler = new Reconciler({
    ...client,
    settleMs: 1,
    now: () => now,
    log: { info: () => undefined, warn: () => undefined, error: (fields) => void logged.push(fields) },
  });
});
afterEach(() => stack.disposeAsync());

/** Stores messages in the ledger of the first one, as one batch, as its owner would. */
async function store(...messages: Outgoing[]): Promise<void> {
  const stream = messages[0]?.subject.split(".")[0]?.toUpperCase() ?? "";
  const entries = messages.map(({ subject, contract, value }) => {
    return { subject, data: encode(contract, value), headers: newHeaders() };
  });
  expect((await commit(client.connection, stream, entries)).kind).toBe("committed");
}

/** Every consumer takes and acknowledges what there is. */
async function acknowledge(...names: [stream: string, consumer: string][]): Promise<void> {
  for (const [stream, name] of names) {
    const consumer = await client.js.consumers.get(stream, name);
    while (!(await drained(client.jsm, stream, name)))
      await (await consumer.next({ expires: 1_000 }))?.ackAck();
  }
}

/** All whom an order waits for. Analytics has read nothing here: a projection that is behind hides nothing. */
const everybody: [string, string][] = [
  ["ORDER", "coordinator"],
  ["ORDER", "notification"],
  ["INVENTORY", "coordinator"],
  ["INVENTORY", "order"],
  ["PAYMENT", "coordinator"],
  ["FULFILLMENT", "coordinator"],
  ["CHECKOUT", "inventory"],
  ["CHECKOUT", "notification"],
];

/** Reads and judges until nothing is left to do at once. */
async function reconcile(): Promise<string[]> {
  await until("everything to be read", async () => {
    while ((await reconciler.step()) > 0) await reconciler.settle();
    await reconciler.settle();
    return reconciler.findings.comparedUpTo > now;
  });
  await reconciler.settle();
  return reconciler.findings.violations.map(({ invariant, subject }) => `${invariant} ${subject}`);
}

const found = (what: string) => until(what, async () => (await reconcile()).includes(what));

const placed = (orderId: string) =>
  message(orderCreated, orderId, {
    order: { orderId, lines, totalCents: 2_400n, customer: { plan: "standard" } },
  });
const stock = (reserved: bigint, sold = 0n) =>
  message(item, "mug", { sku: "mug", available: 100n - reserved - sold, reserved, sold });
const bought = (orderId: string) => message(reservation, orderId, { orderId, status: "sold", lines });
const held = (orderId: string) => message(reservation, orderId, { orderId, status: "reserved", lines });

function at(orderId: string, states: string[], deadline?: number): Outgoing {
  const history = states.map((state) => ({ state, cause: "x" }));
  return message(checkoutState, orderId, {
    state: states.at(-1) ?? "",
    history,
    ...(deadline !== undefined && { deadline: timestampFromMs(deadline) }),
  });
}

/** An order from beginning to end, after which so many units are sold. */
async function complete(orderId: string, sold = 2n): Promise<void> {
  await store(placed(orderId));
  await store(at(orderId, ["created", "reserving"], now + 60_000));
  await store(stock(2n, sold - 2n), held(orderId), message(stockReserved, orderId, { orderId }));
  const books = { orderId, status: "captured", capturedCents: 2_400n };
  await store(message(payment, orderId, books), message(paymentCaptured, orderId, { amountCents: 2_400n }));
  await store(message(orderShipped, orderId, { orderId }));
  await store(at(orderId, ["created", "reserving", "completed"]), message(checkoutCompleted, orderId, {}));
  await store(stock(0n, sold), bought(orderId));
}

describe("Reconciler", () => {
  it("finds nothing wrong with an order that is completed, and forgets it", async () => {
    await complete("o1");
    expect(await reconcile()).toEqual([]);
    expect(reconciler.findings).toMatchObject({ open: 0 });
    expect(reconciler.findings.checked).toBeGreaterThan(0);
  });

  it("does not take what waits for a consumer for wrong, and finds it when it was acknowledged in vain", async () => {
    await store(placed("o1"));
    for (let times = 0; times < 3; times++) expect(await reconcile()).toEqual([]);
    expect(reconciler.findings.open).toBe(1);
    await acknowledge(...everybody);
    await found("I3 o1");
    expect(logged).toMatchObject([{ invariant: "I3", violated_by: "o1" }]);
    // It began after all: as a redriven dead letter, for example.
    await store(at("o1", ["created", "reserving"], now + 60_000));
    await until("it to be mended", async () => (await reconcile()).length === 0);
    expect(logged).toHaveLength(1);
  });

  it("calls no violation what a dead letter holds up, and does when that was discarded", async () => {
    await store(placed("o1"));
    const letter = await parkNext(client, "ORDER", "coordinator");
    await acknowledge(...everybody);
    for (let times = 0; times < 4; times++) {
      expect(await reconcile()).toEqual([]);
      await reconciler.finish();
    }
    await discardDeadLetter(client, letter, { by: "eve", reason: "a test" });
    await found("I3 o1");
  });

  it("looks an order up that it has forgotten when a message comes late", async () => {
    await complete("o1");
    expect(await reconcile()).toEqual([]);
    await store(message(paymentCaptured, "o1", { amountCents: 2_400n }));
    await acknowledge(...everybody);
    await found("I4 o1");
    expect(await reconcile()).toContain("I1 o1");
  });

  it("finds an order that is past its deadline though nothing is said of it any more", async () => {
    await store(placed("o1"));
    await store(at("o1", ["created", "reserving"], now + 60_000));
    await acknowledge(...everybody);
    expect(await reconcile()).toEqual([]);
    now += 121_000;
    await until("I3", async () => {
      await reconciler.settle();
      return reconciler.findings.violations.some(({ invariant }) => invariant === "I3");
    });
  });

  it("keeps the balance of stock, also through orders that it has forgotten", async () => {
    await complete("o1", 2n);
    await complete("o2", 4n);
    expect(await reconcile()).toEqual([]);
    await store(stock(0n, 2n), message(reservation, "o1", { orderId: "o1", status: "released" }));
    expect(await reconcile()).not.toContain("I2 mug");
    for (const wrong of [stock(0n, 3n), stock(1n, 2n), stock(2n, 0n)]) {
      await store(wrong);
      expect(await reconcile()).toContain("I2 mug");
    }
    await store(stock(0n, 2n));
    expect(await reconcile()).not.toContain("I2 mug");
  });

  it("finds a history that was rewritten", async () => {
    await complete("o1");
    await store(at("o1", ["created", "completed"]));
    await acknowledge(...everybody);
    await found("I5 o1");
  });

  it("finds what cannot be decoded, and reads on", async () => {
    await complete("o1");
    for (const subject of ["payment.captured.o1", "inventory.item.mug"]) {
      const entry = { subject, data: new Uint8Array([255]), headers: newHeaders() };
      const stream = subject.startsWith("payment") ? "PAYMENT" : "INVENTORY";
      expect((await commit(client.connection, stream, [entry])).kind).toBe("committed");
    }
    await acknowledge(...everybody);
    await found("I5 o1");
    expect(await reconcile()).toContain("I2 mug");
    await complete("o2", 4n);
    expect(await reconcile()).not.toContain("I2 mug");
  });

  it("finish() judges what has only just happened", async () => {
    reconciler = new Reconciler({
      ...client,
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    });
    await store(message(paymentCaptured, "o9", { amountCents: 1n }));
    await acknowledge(...everybody);
    while ((await reconciler.step()) > 0);
    await reconciler.finish();
    expect(reconciler.findings.violations.map(({ invariant }) => invariant)).toContain("I1");
  });
});
