import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Context } from "hono";
import { type Env, Problem, requestDeadline, toTime } from "../../lib/mod.ts";
import { key, orderCancelRequested, orderCreated, subjectOf, viewLast } from "../../nats/mod.ts";
import type { Cancellation, CancelRequested } from "./api.ts";
import { type CancelRequest, requestCancel } from "./decide.ts";
import { findOrder, type Source, type Standing, toSummary, unknownOrder } from "./status.ts";

/**
 * `POST /orders/{id}/cancel`: asks the coordinator, which has the last word, to cancel; the body is ignored. 202 with
 * where the order stands once the request is stored, as often as it is sent. 409 if the order is visibly beyond it.
 */
export function cancelRoute(source: Source): (context: Context<Env>) => Promise<Response> {
  const { ledger } = source;
  return async (context) => {
    const orderId = context.req.param("id") ?? "";
    const standing = await findOrder(source, orderId);
    if (isBeyondCancel(standing.state)) throw tooLate(standing);
    if (standing.state === "cancelled") {
      const { value } = await ledger.read(key(orderCancelRequested, orderId));
      if (value === undefined) throw alreadyCancelled(standing);
      return context.json(answer(standing, value), 202);
    }
    const now = timestampNow();
    const requested = await ledger.execute(
      {
        keys: [key(orderCancelRequested, orderId), key(orderCreated, orderId)],
        trace: context.var.trace,
        continues: subjectOf(orderCreated, orderId),
        decide: (view) => requestCancel(view, orderId, now),
      },
      { signal: requestDeadline() },
    );
    if (requested === undefined) throw unknownOrder(orderId);
    context.var.log.info({ order_id: orderId, state: standing.state }, "cancel requested");
    return context.json(answer(standing, requested), 202);
  };
}

/**
 * What became of a customer's wish to cancel that was answered with 202: the coordinator has the last word, and may have
 * dispatched the fulfilment before it came. Undefined if there was none, or nothing has come of it yet. A moment old at
 * most. Costs a read in the states that it matters in, and nothing in the others.
 */
export async function findCancellation(
  { jsm, ledger }: Source,
  { order: { orderId }, state, reason }: Standing,
): Promise<Cancellation | undefined> {
  const refused = isBeyondCancel(state);
  if (!refused && reason !== "customer_request") return undefined;
  const request = await viewLast(jsm, ledger.stream, key(orderCancelRequested, orderId));
  if (request === undefined) return undefined;
  return {
    requested_at: toTime(request.requestedAt),
    ...(refused && { refused: "fulfilment had been dispatched" }),
  };
}

/** Whether a wish to cancel is refused in this state of the coordinator's table. */
export function isBeyondCancel(state: string): boolean {
  return state === "fulfilling" || state === "completed";
}

function answer(standing: Standing, { requestedAt }: CancelRequest): CancelRequested {
  return { ...toSummary(standing), cancel_requested_at: toTime(requestedAt) };
}

function tooLate({ order, state }: Standing): Problem {
  const why = state === "completed" ? "it is completed" : "its fulfilment has begun";
  return new Problem(409, "too-late-to-cancel", {
    title: "Too late to cancel",
    detail: `Cannot cancel ${order.orderId}: ${why}`,
    extra: { state },
  });
}

function alreadyCancelled({ order, state, reason }: Standing): Problem {
  return new Problem(409, "already-cancelled", {
    title: "Already cancelled",
    detail: `Cannot cancel ${order.orderId}: it was cancelled before (${reason})`,
    extra: { state, reason },
  });
}
