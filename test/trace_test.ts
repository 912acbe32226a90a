import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  checkoutTimer,
  deadlinePassed,
  paymentWaitingDue,
  paymentWaitingTimer,
  splitSubject,
  workingConsumers,
} from "../nats/mod.ts";
import {
  exampleOrder,
  flaggedAddress,
  type OtlpReceiver,
  openShop,
  openStreams,
  operator,
  type SentSpan,
  type Streams,
  startOtlpReceiver,
  type TestShop,
} from "./support/mod.ts";

/** Long enough for every service to have sent what it had. */
const QUIET_MS = 1_000;
/** All of a trace is there by then. */
const ARRIVED_MS = 25_000;
const flushOften = { OTEL_BSP_SCHEDULE_DELAY: "100" };

let receiver: OtlpReceiver;
let shop: TestShop;
let streams: Streams;
beforeAll(async () => {
  receiver = await startOtlpReceiver();
  shop = await openShop({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    ...flushOften,
    CHARGING_DEADLINE_MS: "2000",
    SANDBOX_SLOW_MS: "3000",
  });
  streams = await openStreams(shop.shop.operator);
});
afterAll(async () => {
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
});

/** All spans of the trace that the order was placed in, once the order has ended and nothing is said of it any more. */
async function traceOf(id: string): Promise<SentSpan[]> {
  await shop.ends(id);
  await streams.quiet();
  await receiver.quiet(QUIET_MS);
  const created = receiver.spans.find((span) => destinationOf(span) === `order.created.${id}`);
  return receiver.spans.filter(({ traceId }) => traceId === created?.traceId);
}

/** The same once it is whole. Each process sends its spans when its own time has come. */
function wholeTraceOf(id: string): Promise<SentSpan[]> {
  return vi.waitFor(
    async () => {
      const spans = await traceOf(id);
      await expectWhole(id, spans);
      return spans;
    },
    { timeout: ARRIVED_MS, interval: 100 },
  );
}

function destinationOf({ attributes }: SentSpan): string {
  return String(attributes["messaging.destination.name"]);
}

/** Each line `service: name` under that of its parent; those of one parent in the order of the alphabet. */
function treeOf(spans: readonly SentSpan[]): string[] {
  const below = (parent: string | undefined, depth: number): string[] =>
    spans
      .filter(({ parentId }) => parentId === parent)
      .map((span) => [`${"  ".repeat(depth)}${labelOf(span)}`, ...below(span.spanId, depth + 1)])
      .sort(([a = ""], [b = ""]) => (a < b ? -1 : 1))
      .flat();
  return below(undefined, 0);
}

function labelOf({ service, name, attributes, error }: SentSpan): string {
  const redelivered = attributes["shop.redelivered"] === true ? " redelivered" : "";
  return `${service}: ${name}${redelivered}${error ? " failed" : ""}`;
}

/** Of what fires, what it was set as. */
const timers: Readonly<Record<string, string>> = {
  [deadlinePassed.subject]: checkoutTimer.subject,
  [paymentWaitingDue.subject]: paymentWaitingTimer.subject,
};

/**
 * What holds for every order: one root, no span without its parent, each stored message once as what was stored, and each of
 * its consumers' handling once under it.
 */
async function expectWhole(id: string, spans: readonly SentSpan[]): Promise<void> {
  const roots = spans.filter(({ parentId }) => parentId === undefined);
  expect(roots.map(labelOf)).toEqual(["order: POST /orders"]);
  const ids = new Map(spans.map((span) => [span.spanId, span]));
  expect(ids.size).toBe(spans.length);
  const orphans = spans.filter(({ parentId }) => parentId !== undefined && !ids.has(parentId));
  expect(orphans.map(labelOf)).toEqual([]);
  for (const span of spans) expect(span.endNano, labelOf(span)).toBeGreaterThanOrEqual(span.startNano);

  const stored = await streams.messagesOf(id);
  expect(stored.length).toBeGreaterThan(3);
  for (const { subject, headers } of stored) {
    const [, traceId, spanId = ""] = headers.get("traceparent").split("-");
    const span = ids.get(spanId);
    const { prefix } = splitSubject(subject);
    expect(traceId, subject).toBe(roots[0]?.traceId);
    // A timer that has fired carries what it was set with.
    const name = timers[prefix] ?? prefix;
    expect(span, subject).toMatchObject({ kind: "producer", name: `create ${name}` });
    expect(span?.attributes).toMatchObject({
      "messaging.system": "nats",
      "messaging.operation.type": "create",
      "messaging.destination.template": name,
      "messaging.message.id": headers.get("ce-id"),
    });
    // What has waited is handled as the message that it is, under that.
    const takers = workingConsumers().filter(
      ({ contracts }) =>
        prefix !== paymentWaitingDue.subject && contracts.some((contract) => contract.subject === prefix),
    );
    const handled = spans.filter(
      (child) =>
        child.parentId === spanId &&
        destinationOf(child) === subject &&
        child.attributes["shop.outcome"] === "done",
    );
    expect(handled.map(({ service }) => service).sort(), subject).toEqual(
      takers.map(({ service }) => service).sort(),
    );
  }
  const creates = spans.filter(({ kind }) => kind === "producer");
  const places = creates.map(
    ({ attributes }) => `${attributes["shop.stream"]} ${attributes["shop.sequence"]}`,
  );
  expect(new Set(places).size).toBe(creates.length);
}

describe("the trace of an order", () => {
  it("goes from the request through every message, delivery and effect, each of them once", async () => {
    // One that fraud clears before the stock is there waits in the state, which is another path of the same hops.
    const id = await shop.place();
    const spans = await wholeTraceOf(id);
    const hops = spans.filter(({ name }) => name !== "create checkout.state").map(labelOf);
    expect(hops.sort()).toEqual([
      "coordinator: create checkout.charge_payment",
      "coordinator: create checkout.completed",
      "coordinator: create checkout.fulfill_order",
      "coordinator: create checkout.reserve_stock",
      "coordinator: create checkout.screen_order",
      "coordinator: create checkout.timer",
      "coordinator: process fraud.order_cleared",
      "coordinator: process fulfillment.shipped",
      "coordinator: process inventory.stock_reserved",
      "coordinator: process order.created",
      "coordinator: process payment.captured",
      "fraud: create fraud.order_cleared",
      "fraud: process checkout.screen_order",
      "fulfillment: create fulfillment.shipped",
      "fulfillment: process checkout.fulfill_order",
      "inventory: create inventory.item",
      "inventory: create inventory.item",
      "inventory: create inventory.reservation",
      "inventory: create inventory.reservation",
      "inventory: create inventory.stock_reserved",
      "inventory: process checkout.completed",
      "inventory: process checkout.reserve_stock",
      "notification: create notification.mail",
      "notification: create notification.mail",
      "notification: process checkout.completed",
      "notification: process order.created",
      "notification: send mail",
      "notification: send mail",
      "order: POST /orders",
      "order: create order.created",
      "payment: capture payment",
      "payment: create payment.captured",
      "payment: create payment.payment",
      "payment: create payment.payment",
      "payment: process checkout.charge_payment",
    ]);
    // From the capture on there is one way only.
    const capture = spans.find(({ name }) => name === "process payment.captured");
    const tree = treeOf(spans);
    const from = tree.findIndex((line) => line.endsWith("process payment.captured"));
    const depth = tree[from]?.search(/\S/) ?? 0;
    expect(
      tree.slice(from).flatMap((line) => (line.search(/\S/) < depth ? [] : [line.slice(depth)])),
    ).toEqual(
      expect.arrayContaining([
        "coordinator: process payment.captured",
        "  coordinator: create checkout.fulfill_order",
        "    fulfillment: process checkout.fulfill_order",
        "      fulfillment: create fulfillment.shipped",
        "        coordinator: process fulfillment.shipped",
        "          coordinator: create checkout.completed",
        "            notification: process checkout.completed",
        "              notification: create notification.mail",
        "              notification: send mail",
      ]),
    );
    expect(capture).toMatchObject({
      kind: "consumer",
      attributes: {
        "messaging.operation.type": "process",
        "messaging.destination.name": `payment.captured.${id}`,
        "messaging.destination.template": "payment.captured",
        "messaging.consumer.group.name": "coordinator",
        "shop.stream": "PAYMENT",
        "shop.outcome": "done",
      },
    });
    expect(spans.find(({ name }) => name === "capture payment")).toMatchObject({
      kind: "client",
      attributes: { "peer.service": "sandbox", "shop.effect.result": "captured" },
    });
    expect(spans.find(({ name }) => name === "POST /orders")).toMatchObject({
      kind: "server",
      attributes: {
        "http.request.method": "POST",
        "http.route": "/orders",
        "http.response.status_code": 202,
      },
    });
  });

  it("is that of the request that came with one, and its lines in the logs name it", async () => {
    const traceId = randomUUID().replaceAll("-", "");
    const parent = "00f067aa0ba902b7";
    const { body } = await shop.call<{ order_id: string }>("order", "/orders", {
      method: "POST",
      body: exampleOrder,
      headers: {
        "idempotency-key": randomUUID(),
        traceparent: `00-${traceId}-${parent}-01`,
        tracestate: "v=1",
      },
    });
    const spans = await vi.waitFor(
      async () => {
        const found = await traceOf(body.order_id);
        expect(found.map(({ name }) => name)).toContain("POST /orders");
        return found;
      },
      { timeout: ARRIVED_MS, interval: 100 },
    );
    expect(spans.map((span) => span.traceId)).toEqual(spans.map(() => traceId));
    expect(spans.find(({ name }) => name === "POST /orders")).toMatchObject({ parentId: parent });
    const stored = await streams.messagesOf(body.order_id);
    expect(new Set(stored.map(({ headers }) => headers.get("tracestate")))).toEqual(new Set(["v=1"]));
    const line = JSON.parse(
      (await readFile(join(shop.folder, "shop.log"), "utf8"))
        .split("\n")
        .find((text) => text.includes(body.order_id) && text.includes("order placed")) ?? "{}",
    );
    expect(line.trace_id).toBe(traceId);
  });

  it("is not recorded where the request says so, in no service", async () => {
    const traceId = randomUUID().replaceAll("-", "");
    const { body } = await shop.call<{ order_id: string }>("order", "/orders", {
      method: "POST",
      body: exampleOrder,
      headers: { "idempotency-key": randomUUID(), traceparent: `00-${traceId}-00f067aa0ba902b7-00` },
    });
    expect(await traceOf(body.order_id)).toEqual([]);
    expect(receiver.spans.filter((span) => span.traceId === traceId)).toEqual([]);
    for (const { subject, headers } of await streams.messagesOf(body.order_id)) {
      expect(headers.get("traceparent"), subject).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
    }
  });

  it("has each try of what waits beside the one before it", async () => {
    const id = await shop.place({ payment_token: "tok_flaky" });
    const spans = await wholeTraceOf(id);
    const tries = spans
      .filter(({ name }) => name === "process checkout.charge_payment")
      .sort((a, b) => (a.startNano < b.startNano ? -1 : 1));
    expect(new Set(tries.map(({ parentId }) => parentId)).size).toBe(1);
    const fields = tries.map(({ attributes }) => [
      attributes["shop.delivery_count"],
      attributes["shop.redelivered"],
      attributes["shop.outcome"],
      attributes["shop.reason"],
    ]);
    expect(fields).toEqual([
      [1, false, "wait", "the sandbox is flaky"],
      [1, false, "wait", "the sandbox is flaky"],
      [1, false, "done", undefined],
    ]);
    const answers = tries.map(
      ({ spanId }) =>
        spans.find(({ name, parentId }) => name === "capture payment" && parentId === spanId)?.attributes[
          "shop.effect.result"
        ],
    );
    expect(answers).toEqual(["unavailable", "unavailable", "captured"]);
  });

  it("is whole when a service was away for a while", async () => {
    await shop.shop.stop("payment");
    const id = await shop.place({ payment_token: "tok_visa" });
    await shop.reaches(id, "charging");
    await shop.shop.start("payment");
    await wholeTraceOf(id);
  });

  it("has the compensation of an order that is declined", async () => {
    const id = await shop.place({ payment_token: "tok_declined" });
    const spans = await wholeTraceOf(id);
    const tree = treeOf(spans).map((line) => line.trim());
    const from = tree.indexOf("coordinator: process payment.declined");
    expect(tree.slice(from)).toEqual(
      expect.arrayContaining([
        "coordinator: create checkout.release_stock",
        "inventory: process checkout.release_stock",
        "inventory: create inventory.stock_released",
        "coordinator: process inventory.stock_released",
        "coordinator: create checkout.cancelled",
        "notification: process checkout.cancelled",
      ]),
    );
  });

  it("has a person's decision, which is linked to that person's request", async () => {
    const id = await shop.place({ shipping_address: flaggedAddress });
    await shop.reaches(id, "in_review");
    const { status } = await shop.call("fraud", `/reviews/${id}/decision`, {
      method: "POST",
      headers: operator,
      body: { decision: "approve", reviewer: "eve", note: "" },
    });
    expect(status).toBe(200);
    const spans = await wholeTraceOf(id);
    const request = receiver.spans.find(
      ({ name, attributes }) =>
        name === "POST /reviews/:order/decision" && attributes["url.path"] === `/reviews/${id}/decision`,
    );
    expect(request).toMatchObject({ service: "fraud", kind: "server", parentId: undefined });
    expect(request?.traceId).not.toBe(spans[0]?.traceId);
    const approved = spans.find(({ name }) => name === "create fraud.review_approved");
    expect(approved?.links).toEqual([{ traceId: request?.traceId, spanId: request?.spanId }]);
    const screened = spans.find(({ spanId }) => spanId === approved?.parentId);
    expect(screened).toMatchObject({ name: "create fraud.screening", service: "fraud" });
    expect(spans.map(labelOf)).toContain("coordinator: process fraud.review_approved");
  });

  it("has a customer's cancellation, in the same way", async () => {
    const id = await shop.place({ shipping_address: flaggedAddress });
    await shop.reaches(id, "in_review");
    expect((await shop.call("order", `/orders/${id}/cancel`, { method: "POST" })).status).toBe(202);
    const spans = await wholeTraceOf(id);
    const request = receiver.spans.find(
      ({ attributes }) => attributes["url.path"] === `/orders/${id}/cancel`,
    );
    const wish = spans.find(({ name }) => name === "create order.cancel_requested");
    expect(wish?.links).toEqual([{ traceId: request?.traceId, spanId: request?.spanId }]);
    expect(spans.map(labelOf)).toContain("coordinator: process order.cancel_requested");
  });

  it("has the timer that fired, and what came of it", async () => {
    const id = await shop.place({ payment_token: "tok_slow" });
    const spans = await wholeTraceOf(id);
    const fired = spans.find(({ name }) => name === "process checkout.deadline_passed");
    const timer = spans.find(({ spanId }) => spanId === fired?.parentId);
    expect(timer).toMatchObject({ name: "create checkout.timer", service: "coordinator" });
    expect(timer?.attributes["shop.timer.at"]).toMatch(/^\d{4}-\d\d-\d\dT/);
    expect(spans.map(labelOf)).toEqual(
      expect.arrayContaining([
        "coordinator: wait for earlier answers",
        "coordinator: create checkout.refund_payment",
        "payment: refund payment",
      ]),
    );
  });
});

describe("a commit", () => {
  it("is a trace of its own that links every message that it carries", async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => shop.place()));
    for (const id of ids) await wholeTraceOf(id);
    const commits = receiver.spans.filter(({ name }) => name.startsWith("commit "));
    for (const commit of commits) expect(commit).toMatchObject({ kind: "client", parentId: undefined });
    const creates = receiver.spans.filter(({ kind }) => kind === "producer");
    for (const create of creates) {
      const carriers = commits.filter(({ links }) => links.some(({ spanId }) => spanId === create.spanId));
      expect(carriers.map(({ name }) => name)).toEqual([`commit ${create.attributes["shop.stream"]}`]);
    }
    // Orders that come together share commits.
    const traces = commits.map(({ links }) => new Set(links.map(({ traceId }) => traceId)).size);
    expect(Math.max(...traces)).toBeGreaterThan(1);
    for (const { attributes, links } of commits) {
      expect(attributes["messaging.batch.message_count"]).toBeGreaterThanOrEqual(links.length);
    }
  });
});

describe("a share of all traces", () => {
  it("is whole or not there, and nothing slows down or stops when whoever takes them goes away", async () => {
    await using backend = await startOtlpReceiver();
    await using other = await openShop({
      OTEL_EXPORTER_OTLP_ENDPOINT: backend.url,
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.5",
      ...flushOften,
    });
    const placed = await Promise.all(Array.from({ length: 24 }, () => other.place()));
    for (const id of placed) expect(await other.ends(id)).toMatchObject({ state: "completed" });
    {
      await using ledgers = await openStreams(other.shop.operator);
      await ledgers.quiet();
    }
    await backend.quiet(QUIET_MS);
    const orders = Map.groupBy(
      backend.spans.filter(({ name }) => !name.startsWith("commit ") && !name.startsWith("GET ")),
      ({ traceId }) => traceId,
    );
    expect(orders.size).toBeGreaterThan(0);
    expect(orders.size).toBeLessThan(24);
    for (const spans of orders.values()) {
      const names = spans.map(({ name }) => name);
      expect(names.filter((name) => name === "POST /orders")).toHaveLength(1);
      expect(names.filter((name) => name === "send mail")).toHaveLength(2);
    }

    backend.fail("silent");
    const id = await other.place();
    expect(await other.ends(id)).toMatchObject({ state: "completed" });
    await other.shop.shutdown();
    // One that hangs is ended, and says nothing more.
    const log = await readFile(join(other.folder, "shop.log"), "utf8");
    const stopped = log.split("\n").filter((line) => line.includes('"msg":"stopped"'));
    expect(stopped).toHaveLength(9);
  });
});
