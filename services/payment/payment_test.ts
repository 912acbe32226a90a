import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChargePaymentSchema } from "../../gen/shop/checkout/v1/charge_payment_pb.ts";
import { RefundPaymentSchema } from "../../gen/shop/checkout/v1/refund_payment_pb.ts";
import { createApp, createMetrics } from "../../lib/mod.ts";
import {
  applyTopology,
  chargePayment,
  consumersOf,
  encode,
  key,
  Ledger,
  Processor,
  payment,
  paymentWaiting,
  paymentWaitingTimer,
  readLast,
  refundPayment,
  subjectOf,
} from "../../nats/mod.ts";
import {
  type Client,
  checked,
  drained,
  type NatsServer,
  silent,
  startNats,
  until,
} from "../../test/support/mod.ts";
import { routes } from "./app.ts";
import { handlers, waiting } from "./decide.ts";
import type { CaptureAnswer, Provider } from "./provider.ts";
import { sandbox } from "./sandbox.ts";
import { stripe } from "./stripe.ts";
import { fault, SECRET_KEY, StripeStandIn } from "./stripe_stand_in.ts";

/** A provider that counts what is asked of it and what it does: one effect per idempotency key. */
class Counting implements Provider {
  readonly name = "counting";
  readonly asked: string[] = [];
  readonly moved = new Set<string>();
  readonly #inner: Provider;
  /** Held back for as long as it is set: the answers to captures. */
  gate: Promise<void> | undefined;

  constructor(inner: Provider) {
    this.#inner = inner;
  }

  async capture(...[request, options]: Parameters<Provider["capture"]>): Promise<CaptureAnswer> {
    this.asked.push(request.idempotencyKey);
    const answer = await this.#inner.capture(request, options);
    if (answer.kind === "captured") this.moved.add(answer.captureId);
    await this.gate;
    return answer;
  }

  async refund(...[request, options]: Parameters<Provider["refund"]>) {
    this.asked.push(request.idempotencyKey);
    const answer = await this.#inner.refund(request, options);
    if (answer.kind === "refunded") this.moved.add(answer.refundId);
    return answer;
  }
}

describe("payment on JetStream", () => {
  let nats: NatsServer;
  let client: Client;

  beforeAll(async () => {
    nats = await startNats();
    await applyTopology({ servers: nats.url });
    client = await nats.connect();
  });
  afterAll(() => nats[Symbol.asyncDispose]());

  /** The service without its HTTP interface, on a connection of its own. */
  async function start(provider: Provider) {
    const { connection, js } = await nats.connect("payment");
    const ledger = new Ledger(connection, {
      stream: "PAYMENT",
      source: "/services/payment",
      log: silent,
    });
    const processor = new Processor(connection, js, ledger, {
      service: "payment",
      consumers: consumersOf("payment"),
      handlers: handlers({ provider }),
      waiting,
      log: silent,
    });
    const stop = async () => {
      await processor.shutdown();
      await ledger.shutdown();
    };
    return { ledger, processor, [Symbol.asyncDispose]: stop };
  }

  const appOf = ({ ledger }: { ledger: Ledger }) =>
    checked(
      routes(createApp({ log: pino({ level: "silent" }), metrics: createMetrics("payment") }), {
        jsm: client.jsm,
        ledger,
        operatorToken: "operator",
      }),
    );

  async function charge(
    orderId: string,
    options: MessageInitShape<typeof ChargePaymentSchema> = {},
  ): Promise<void> {
    const command = { orderId, amountCents: 1_200n, currency: "EUR", paymentToken: "tok_visa", ...options };
    const data = encode(chargePayment, create(ChargePaymentSchema, command));
    await client.js.publish(subjectOf(chargePayment, orderId), data);
  }

  async function refund(orderId: string): Promise<void> {
    const data = encode(refundPayment, create(RefundPaymentSchema, { orderId, reason: "timed_out" }));
    await client.js.publish(subjectOf(refundPayment, orderId), data);
  }

  /** Every command is acknowledged, and nothing waits for the provider. */
  async function settled(): Promise<void> {
    await until("the commands to be handled", () => drained(client.jsm, "CHECKOUT", "payment"));
    await until("nothing to wait", async () => (await countWaiting()) === 0, { timeoutMs: 15_000 });
    await until("what was due to be handled", () => drained(client.jsm, "PAYMENT", "payment"));
  }

  /** How many commands wait for the provider. */
  async function countWaiting(): Promise<number> {
    const subjects_filter = `${paymentWaitingTimer.subject}.>`;
    const { state } = await client.jsm.streams.info("PAYMENT", { subjects_filter });
    return Object.keys(state.subjects ?? {}).length;
  }

  async function statusOf(orderId: string): Promise<string | undefined> {
    return (await readLast(client.connection, "PAYMENT", key(payment, orderId))).value?.status;
  }

  /** How many messages of each kind tell of the order, besides its state. */
  async function eventsOf(orderId: string): Promise<Record<string, number>> {
    const { state } = await client.jsm.streams.info("PAYMENT", { subjects_filter: `payment.*.${orderId}` });
    const counts = Object.entries(state.subjects ?? {}).map(([subject, count]) => [
      subject.split(".")[1],
      count,
    ]);
    return Object.fromEntries(counts.filter(([kind]) => kind !== "payment"));
  }

  it("captures, declines and refunds, each once, whatever command comes twice", async () => {
    const provider = new Counting(sandbox({ slowMs: 1 }));
    await using _ = await start(provider);
    await charge("visa");
    await charge("flaky", { paymentToken: "tok_flaky" });
    await charge("bad", { paymentToken: "tok_declined" });
    await charge("back");
    await settled();
    await refund("back");
    await settled();
    for (const orderId of ["visa", "flaky", "bad", "back"]) await charge(orderId);
    for (let n = 0; n < 2; n++) await refund("back");
    await settled();

    expect(await eventsOf("visa")).toEqual({ captured: 1 });
    expect(await eventsOf("flaky")).toEqual({ captured: 1 });
    expect(await eventsOf("bad")).toEqual({ declined: 1 });
    expect(await eventsOf("back")).toEqual({ captured: 1, refunded: 1 });
    expect(await statusOf("back")).toBe("refunded");
    expect(provider.moved.size).toBe(4);
    expect(provider.asked.filter((asked) => asked === "flaky/capture")).toHaveLength(3);
    expect(provider.asked.filter((asked) => asked !== "flaky/capture").sort()).toEqual([
      "back/capture",
      "back/refund",
      "bad/capture",
      "visa/capture",
    ]);
  });

  it("never asks for a capture when the refund comes first", async () => {
    const provider = new Counting(sandbox({ slowMs: 1 }));
    await using _ = await start(provider);
    await refund("early");
    await settled();
    await charge("early");
    await settled();
    expect(await eventsOf("early")).toEqual({ voided: 1 });
    expect(provider.asked).toEqual([]);
  });

  it("refunds a capture that comes late, in one process", async () => {
    const provider = new Counting(sandbox({ slowMs: 300 }));
    await using _ = await start(provider);
    await charge("slow", { paymentToken: "tok_slow" });
    await until("the capture to be under way", async () => (await statusOf("slow")) === "pending");
    await refund("slow");
    await settled();
    expect(await eventsOf("slow")).toEqual({ captured: 1, refunded: 1 });
    expect(provider.asked).toEqual(["slow/capture", "slow/refund"]);
  });

  it("captures and refunds once when charge and refund race in two processes", async () => {
    const provider = new Counting(sandbox({ slowMs: 20 }));
    await using _one = await start(provider);
    await using _two = await start(provider);
    const orders = Array.from({ length: 40 }, (_, n) => `race-${n}`);
    await Promise.all(
      orders.flatMap((orderId) => [
        charge(orderId, { paymentToken: "tok_slow" }),
        refund(orderId),
        charge(orderId, { paymentToken: "tok_slow" }),
        refund(orderId),
      ]),
    );
    await settled();
    for (const orderId of orders) {
      const events = await eventsOf(orderId);
      const status = await statusOf(orderId);
      // Which of the two came first is up to the race; that each thing happens once is not.
      expect([status, events]).toEqual(
        status === "voided" ? ["voided", { voided: 1 }] : ["refunded", { captured: 1, refunded: 1 }],
      );
    }
    const refunded = await Promise.all(
      orders.map(async (orderId) => (await statusOf(orderId)) === "refunded"),
    );
    expect(provider.moved.size).toBe(2 * refunded.filter(Boolean).length);
  });

  it("concludes once what a process left behind that died between asking and storing the answer", async () => {
    const provider = new Counting(sandbox({ slowMs: 1 }));
    const answer = Promise.withResolvers<void>();
    provider.gate = answer.promise;
    const first = await start(provider);
    await charge("crash");
    await until("the provider to be asked", () => provider.moved.size === 1);
    await first.processor.shutdown({ graceMs: 0 });
    expect([await statusOf("crash"), await eventsOf("crash")]).toEqual(["pending", {}]);

    provider.gate = undefined;
    await using _second = await start(provider);
    await until("the capture to be concluded", async () => (await statusOf("crash")) === "captured");
    // The answer that nobody waits for any more still reaches the first process.
    answer.resolve();
    await settled();
    await first[Symbol.asyncDispose]();
    expect(provider.asked).toEqual(["crash/capture", "crash/capture"]);
    expect(provider.moved.size).toBe(1);
    expect(await eventsOf("crash")).toEqual({ captured: 1 });
  });

  it("changes nothing when everything is delivered again from the beginning", async () => {
    const before = (await client.jsm.streams.info("PAYMENT")).state.messages;
    const { config } = await client.jsm.consumers.info("CHECKOUT", "payment");
    await client.jsm.consumers.delete("CHECKOUT", "payment");
    await client.jsm.consumers.add("CHECKOUT", config);
    const provider = new Counting(sandbox({ slowMs: 1 }));
    await using _ = await start(provider);
    await settled();
    expect(provider.asked).toEqual([]);
    expect((await client.jsm.streams.info("PAYMENT")).state.messages).toBe(before);
  });

  describe("GET /payments/{order}", () => {
    it("shows what became of the money, and never the token", async () => {
      const provider = new Counting(sandbox({ slowMs: 1 }));
      const gate = Promise.withResolvers<void>();
      provider.gate = gate.promise;
      await using service = await start(provider);
      const app = appOf(service);
      await charge("shown");
      await until("the intent to be stored", async () => (await statusOf("shown")) === "pending");
      const pending = (await (await app.request("/payments/shown")).json()) as object;
      expect(pending).toEqual({
        order_id: "shown",
        status: "pending",
        amount_cents: 1_200,
        currency: "EUR",
        captured_cents: 0,
        refunded_cents: 0,
      });
      gate.resolve();
      await settled();
      await refund("shown");
      await settled();
      expect(await (await app.request("/payments/shown")).json()).toEqual({
        ...pending,
        status: "refunded",
        captured_cents: 1_200,
        refunded_cents: 1_200,
        capture_id: expect.stringMatching(/^sandbox_ch_/),
        refund_id: expect.stringMatching(/^sandbox_re_/),
      });
      expect(await (await app.request("/payments/bad")).json()).toMatchObject({
        status: "declined",
        decline_code: "card_declined",
      });
    });

    it.each(["unknown", "no.such", "%3E", "x".repeat(65)])("answers 404 for %s", async (orderId) => {
      await using service = await start(sandbox({ slowMs: 1 }));
      const response = await appOf(service).request(`/payments/${orderId}`);
      expect(response.status).toBe(404);
      expect(response.headers.get("content-type")).toContain("application/problem+json");
      expect(await response.json()).toMatchObject({ type: "urn:problem:shop:unknown-payment" });
    });
  });

  describe("a refund that Stripe does not make", () => {
    const operator = { authorization: "Bearer operator", "content-type": "application/json" };
    const settlement = { settled_by: "ada", note: "bank transfer 4711", amount_cents: 1_200 };

    const settleBy = (app: ReturnType<typeof appOf>, orderId: string, body: object) =>
      app.request(`/payments/${orderId}/settlement`, {
        method: "POST",
        headers: operator,
        body: JSON.stringify(body),
      });

    it("waits in the ledger for as long as it is pending, however often it is asked for", async () => {
      await using api = new StripeStandIn();
      const provider = new Counting(
        stripe({ secretKey: SECRET_KEY, apiBase: await api.listen(), log: silent }),
      );
      api.refundStatus = "pending";
      await using service = await start(provider);
      await charge("pending", { paymentToken: "pm_card_visa" });
      await settled();
      await refund("pending");
      await until("it to wait", async () => (await countWaiting()) === 1);
      await refund("pending");
      await until("both to be acknowledged", () => drained(client.jsm, "CHECKOUT", "payment"));
      expect(provider.asked).toEqual(["pending/capture", "pending/refund"]);
      const state = await service.ledger.read(key(paymentWaiting, "pending.checkout_refund_payment"));
      expect(state.value).toMatchObject({ tries: 1, reason: "Stripe: the refund is pending" });
      // A person cannot settle what may still be refunded.
      expect((await settleBy(appOf(service), "pending", settlement)).status).toBe(409);
      await client.jsm.streams.purge("PAYMENT", { filter: `${paymentWaitingTimer.subject}.>` });
    });

    it("is listed for a person, who settles it once", async () => {
      await using api = new StripeStandIn();
      const provider = new Counting(
        stripe({ secretKey: SECRET_KEY, apiBase: await api.listen(), log: silent }),
      );
      await using service = await start(provider);
      const app = appOf(service);
      await charge("disputed", { paymentToken: "pm_card_visa" });
      await settled();
      api.refuse = fault(400, { type: "invalid_request_error", code: "charge_disputed", message: "No" });
      await refund("disputed");
      await settled();
      await refund("disputed");
      await settled();
      expect(provider.asked).toEqual(["disputed/capture", "disputed/refund"]);
      const listed = { order_id: "disputed", status: "refunding", refunded_cents: 0 };
      expect(await (await app.request("/refunds", { headers: operator })).json()).toMatchObject({
        refunds: [{ ...listed, refund_refused: { code: expect.stringContaining("charge_disputed") } }],
      });

      expect((await app.request("/refunds")).status).toBe(401);
      expect((await settleBy(app, "nobody", settlement)).status).toBe(404);
      const part = await settleBy(app, "disputed", { ...settlement, amount_cents: 1_000 });
      expect([part.status, await part.json()]).toEqual([
        409,
        expect.objectContaining({
          detail: expect.stringContaining("1200 cents of EUR were captured, and 1000"),
        }),
      ]);
      for (let n = 0; n < 2; n++) {
        expect(await (await settleBy(app, "disputed", settlement)).json()).toMatchObject({
          status: "refunded",
          refunded_cents: 1_200,
          settlement,
        });
      }
      expect((await settleBy(app, "disputed", { ...settlement, settled_by: "eve" })).status).toBe(409);
      expect(await eventsOf("disputed")).toEqual({ captured: 1, refund_refused: 1, refunded: 1 });
      expect(await (await app.request("/refunds", { headers: operator })).json()).toEqual({ refunds: [] });
    });
  });

  it("ends an order that Stripe refuses for good, and captures nothing", async () => {
    await using api = new StripeStandIn();
    const provider = stripe({ secretKey: SECRET_KEY, apiBase: await api.listen(), log: silent });
    await using _ = await start(provider);
    await charge("refused", { currency: "KPW", paymentToken: "pm_card_visa" });
    await until("Stripe to refuse", () => api.requests.length > 0);
    await refund("refused");
    // The charge comes again in ten seconds, and finds the payment voided.
    await until("the order to end", async () => (await statusOf("refused")) === "voided");
    expect(await eventsOf("refused")).toEqual({ voided: 1 });
    expect(api.intents).toEqual([]);
  });
});
