import type { Hono } from "hono";
import { described, type Env, limitRate, type RateLimit } from "../../lib/mod.ts";
import { cancelRoute, findCancellation } from "./cancel.ts";
import { type EventSource, eventsRoute } from "./events.ts";
import { listRoute } from "./list.ts";
import { type PlaceSource, placeRoute } from "./place.ts";
import { findOrder, toJson } from "./status.ts";
import { type TimelineSource, timelineRoute } from "./timeline.ts";
import { getTimeline } from "./timeline_api.ts";

/**
 * - `POST /orders` with `Idempotency-Key` → 202 with the order and its `Location`; 429 beyond `rateLimit`.
 * - `GET /orders?state=&limit=&cursor=` → a page of orders.
 * - `GET /orders/{id}` → where the order stands, with its history, and what became of a wish to cancel it:
 *   `"cancellation":{"requested_at","refused"?}`.
 * - `GET /orders/{id}/events` → its transitions as they happen (Server-Sent Events).
 * - `GET /orders/{id}/timeline` → all that the streams hold about it: messages, dead letters, who has yet to read what.
 * - `POST /orders/{id}/cancel` → 202 once the wish is stored, 409 when it visibly comes too late.
 */
export function routes(
  app: Hono<Env>,
  source: EventSource & PlaceSource & TimelineSource & { rateLimit?: RateLimit },
): Hono<Env> {
  if (source.rateLimit !== undefined) app.on("POST", "/orders", limitRate(source.rateLimit));
  return app
    .post("/orders", placeRoute(source))
    .get("/orders", listRoute(source))
    .get("/orders/:id", async (context) => {
      const standing = await findOrder(source, context.req.param("id"));
      const cancellation = await findCancellation(source, standing);
      return context.json({ ...toJson(standing), ...(cancellation && { cancellation }) });
    })
    .get("/orders/:id/events", eventsRoute(source))
    .get("/orders/:id/timeline", described(getTimeline), timelineRoute(source))
    .post("/orders/:id/cancel", cancelRoute(source));
}
