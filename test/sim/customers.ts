import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Contract, item, key, orderCancelRequested, orderCreated } from "../../nats/mod.ts";
import { decideReview, screeningKeys } from "../../services/fraud/decide.ts";
import { setStock } from "../../services/inventory/decide.ts";
import { type Placing, placeOrder, placingKeys, requestCancel } from "../../services/order/decide.ts";
import { hashRequest, type OrderRequest } from "../../services/order/request.ts";
import { dateOf, type Surroundings } from "./process.ts";
import type { Random } from "./random.ts";
import type { Shop } from "./shop.ts";
import type { Task } from "./time.ts";

/** What is sold: enough, few, one, none, and something that cannot be packed. */
export const initialStock: Readonly<Record<string, number>> = {
  mug: 1_000,
  desk: 4,
  "last-one": 1,
  "sold-out": 0,
  broken: 100,
};

/** Everybody who asks the shop for something, and what they were told. */
export class Customers {
  /** By idempotency key. */
  readonly accepted = new Map<string, Set<string>>();
  /** Those who have not got their answer yet. */
  waiting = 0;
  readonly #shop: Shop;
  readonly #around: Surroundings;

  constructor(shop: Shop, around: Surroundings) {
    this.#shop = shop;
    this.#around = around;
  }

  /** Puts an item on sale. */
  *stock(sku: string, available: number): Task<void> {
    const { time, random } = this.#around;
    for (;;) {
      const stored = yield* this.#shop.call("inventory", (ledger) =>
        ledger.execute({
          keys: [key(item, sku)],
          decide: (view) =>
            view.get(item, sku) === undefined
              ? { messages: setStock(view, sku, { available, unitPriceCents: 700 }).messages, result: true }
              : { messages: [], result: true },
        }),
      );
      if (stored) return;
      yield random.delay(time.now < 1_000 ? 50 : 500);
    }
  }

  /** Orders until there is an answer, always with the same key; may click twice, and may change their mind. */
  *order(number: number): Task<void> {
    const { time, random, say } = this.#around;
    const request = randomRequest(random, number);
    const told = new Set<string>();
    this.accepted.set(`k${number}`, told);
    this.waiting += 1;
    yield random.between(0, 60_000);
    let clicks = 0;
    const click = (): Task<string | undefined> =>
      this.#place(request, { orderId: `o${number}`, attemptId: `${++clicks}` });
    if (random.chance(0.1)) {
      time.start(
        { life: 0, pausedUntil: 0 },
        click(),
        (orderId) => orderId !== undefined && told.add(orderId),
      );
      yield random.between(0, 20);
    }
    let orderId: string | undefined;
    for (; orderId === undefined; ) {
      orderId = yield* click();
      if (orderId === undefined) yield random.delay(200);
    }
    told.add(orderId);
    this.waiting -= 1;
    say(
      "customer",
      () =>
        `${orderId} is accepted: ${request.lines.map(({ sku, quantity }) => `${quantity} ${sku}`).join(", ")}`,
    );
    const id = orderId;
    const flagged = request.shipping_address?.line1.includes("Freight Forwarding");
    if (flagged && random.chance(0.7)) time.start({ life: 0, pausedUntil: 0 }, this.#review(id));
    if (!random.chance(0.25)) return;
    yield random.delay(random.pick([5, 100, 1_000, 10_000]));
    yield* this.#cancel(id);
  }

  *#place(request: OrderRequest, of: { orderId: string; attemptId: string }): Task<string | undefined> {
    const { time } = this.#around;
    const placing: Placing = {
      ...of,
      idSecretFingerprint: new Uint8Array(8),
      requestHash: hashRequest(request),
      now: timestampFromDate(dateOf(time.now)),
    };
    const placed = yield* this.#shop.call("order", (ledger) =>
      ledger.execute({
        keys: placingKeys(request, placing),
        decide: (view) => placeOrder(view, request, placing),
      }),
    );
    return placed?.kind === "accepted" || placed?.kind === "replayed" ? placed.order.orderId : undefined;
  }

  *#cancel(orderId: string): Task<void> {
    const { time, random, say } = this.#around;
    const now = timestampFromDate(dateOf(time.now));
    const keys = [key(orderCancelRequested, orderId), key(orderCreated as Contract, orderId)];
    for (;;) {
      const work = {
        keys,
        decide: (view: Parameters<typeof requestCancel>[0]) => requestCancel(view, orderId, now),
      };
      if (yield* this.#shop.call("order", (ledger) => ledger.execute(work))) break;
      yield random.delay(200);
    }
    say("customer", () => `${orderId}: asked to cancel`);
  }

  /** Decides on a review while it is open, if that comes in time. */
  *#review(orderId: string): Task<void> {
    const { time, random, say } = this.#around;
    const decision = random.chance(0.6) ? "approve" : "reject";
    for (let tries = 0; tries < 20; tries++) {
      yield random.delay(5_000);
      const answer = yield* this.#shop.call("fraud", (ledger) =>
        ledger.execute({
          keys: screeningKeys(orderId),
          decide: (view) =>
            decideReview(view, orderId, { decision, reviewer: "eve", note: "", now: dateOf(time.now) }),
        }),
      );
      if (answer === undefined || answer.kind === "unknown") continue;
      say("reviewer", () => `${orderId}: ${decision}: ${answer.kind}`);
      return;
    }
  }
}

function randomRequest(random: Random, number: number): OrderRequest {
  const skus = new Set([random.pick(["mug", "mug", "desk", "last-one", "broken", "sold-out"])]);
  if (random.chance(0.4)) skus.add(random.pick(["mug", "desk", "last-one"]));
  const line1 = random.chance(0.2) ? "Freight Forwarding 1" : "12 High Street";
  return {
    customer: {
      id: `c${number}`,
      email: `c${number}@example.com`,
      plan: random.chance(0.15) ? "trial" : "standard",
    },
    lines: [...skus].map((sku) => ({ sku, quantity: sku === "last-one" ? 1 : random.between(1, 3) })),
    shipping_address: { name: "Ada", line1, city: "York", postal_code: "YO1 7HH", country: "GB" },
    shipping_priority: random.pick(["standard", "express"]),
    payment_token: random.pick(["tok_visa", "tok_visa", "tok_visa", "tok_declined", "tok_slow"]),
  };
}
