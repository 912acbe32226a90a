import { randomUUID } from "node:crypto";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Context } from "hono";
import { type Env, Problem, readBody, requestDeadline } from "../../lib/mod.ts";
import { orderCreated, subjectOf } from "../../nats/mod.ts";
import * as api from "./api.ts";
import { type Order, type Placed, type Placing, placeOrder, placingKeys } from "./decide.ts";
import type { OrderIds } from "./order_id.ts";
import { hashRequest, MAX_TOTAL_CENTS, type OrderRequest, readIdempotencyKey } from "./request.ts";
import { justCreated, type Source, toJson } from "./status.ts";

export interface PlaceSource extends Source {
  /** Undefined until they are known: no order is placed before. */
  orderIds(): OrderIds | undefined;
}

/**
 * `POST /orders`: one order per idempotency key, however often and from however many clients it is sent.
 *
 * 202 with the order once it is stored, and the very same answer (`Idempotency-Replayed: true`) whenever the request is
 * sent again, also after the order has ended. 409 while this process still handles the first request with the key;
 * another process finds the order. 503 while the store is nearly full.
 */
export function placeRoute(source: PlaceSource): (context: Context<Env>) => Promise<Response> {
  const inFlight = new Set<string>();
  return async (context) => {
    const idempotencyKey = readIdempotencyKey(context.req.header("idempotency-key"));
    const request = await readBody(context.req.raw, api.placeOrder.body);
    const ids = source.orderIds();
    if (ids === undefined) throw notReady();
    const orderId = ids.idOf(idempotencyKey);
    if (inFlight.has(orderId)) throw stillInFlight();
    if (source.capacity?.full) throw noRoom();
    inFlight.add(orderId);
    try {
      const { order, kind } = await place(context, source, {
        orderId,
        request,
        idSecretFingerprint: ids.fingerprint,
      });
      const replayed = kind === "replayed";
      const fields = { order_id: orderId, total_cents: Number(order.totalCents), replayed };
      context.get("log").info(fields, "order placed");
      if (replayed) context.header("idempotency-replayed", "true");
      context.header("location", `/orders/${order.orderId}`);
      const { history: _, ...answer } = toJson(justCreated(order));
      return context.json(answer, 202);
    } finally {
      inFlight.delete(orderId);
    }
  };
}

async function place(
  context: Context<Env>,
  { ledger }: Source,
  { request, ...made }: Pick<Placing, "orderId" | "idSecretFingerprint"> & { request: OrderRequest },
): Promise<{ kind: "accepted" | "replayed"; order: Order }> {
  const placing: Placing = {
    ...made,
    requestHash: hashRequest(request),
    attemptId: randomUUID(),
    now: timestampNow(),
  };
  const placed = await ledger.execute(
    {
      keys: placingKeys(request, placing),
      begins: [subjectOf(orderCreated, placing.orderId)],
      trace: context.get("trace"),
      decide: (view) => placeOrder(view, request, placing),
    },
    { signal: requestDeadline() },
  );
  if (placed.kind === "accepted" || placed.kind === "replayed") return placed;
  throw refusal(placed);
}

function refusal(placed: Exclude<Placed, { kind: "accepted" | "replayed" }>): Problem {
  switch (placed.kind) {
    case "key_reused":
      return new Problem(422, "idempotency-key-reused", {
        title: "Idempotency-Key already used",
        detail: "This key was used for another request. Use a new key for each order",
      });
    case "unknown_sku":
      return new Problem(422, "unknown-sku", {
        title: "Unknown sku",
        detail: `Not for sale: ${placed.skus.map((sku) => JSON.stringify(sku)).join(", ")}`,
        extra: { skus: placed.skus },
      });
    case "mixed_currencies":
      return new Problem(422, "mixed-currencies", {
        title: "Mixed currencies",
        detail: `An order has one currency; these items are priced in ${placed.currencies.join(", ")}`,
      });
    case "unknown_currency":
      return new Problem(422, "unknown-currency", {
        title: "Unknown currency",
        detail: `The catalogue has these items in ${JSON.stringify(placed.currency)}, which is no currency of ISO 4217 in use`,
      });
    case "total_too_large":
      return new Problem(422, "total-too-large", {
        title: "Total too large",
        detail: `The order comes to ${placed.totalCents} cents: ${MAX_TOTAL_CENTS} is the most`,
      });
    case "price_changed": {
      const { expectedCents: expected_total_cents, currency } = placed;
      const total_cents = Number(placed.totalCents);
      return new Problem(409, "price-changed", {
        title: "Another price",
        detail: `The order comes to ${total_cents} cents (${currency}) and not to ${expected_total_cents}. Nothing was stored`,
        extra: { expected_total_cents, total_cents, currency },
      });
    }
    default:
      return placed satisfies never;
  }
}

/** The process has just started. */
function notReady(): Problem {
  return new Problem(503, "unavailable", {
    title: "Not available right now",
    detail: "This process is not ready for orders yet. Nothing was stored: send the request again",
    headers: { "retry-after": "1" },
  });
}

/** The orders that are under way need the room that is left. */
function noRoom(): Problem {
  return new Problem(503, "store-nearly-full", {
    title: "Not available right now",
    detail: "No orders are accepted for the moment. Nothing was stored: send the request again later",
    headers: { "retry-after": "5" },
  });
}

function stillInFlight(): Problem {
  return new Problem(409, "request-in-flight", {
    title: "Request in flight",
    detail:
      "The first request with this Idempotency-Key is still being handled. Send it again for its answer",
    headers: { "retry-after": "1" },
  });
}
