import type { Hono } from "hono";
import { described, type Env, limitRate, type RateLimit } from "../../lib/mod.ts";
import { OpenLetters } from "../../nats/mod.ts";
import * as api from "./api.ts";
import { cancelRoute, findCancellation } from "./cancel.ts";
import { type EventSource, eventsRoute } from "./events.ts";
import { itemsRoute } from "./items.ts";
import { listRoute } from "./list.ts";
import { type PlaceSource, placeRoute } from "./place.ts";
import { findRefund } from "./refund.ts";
import { findOrder, toJson } from "./status.ts";
import { type TimelineSource, timelineRoute } from "./timeline.ts";

type Given = EventSource & PlaceSource & TimelineSource;

/** What `api.ts` describes; 429 beyond `rateLimit`. */
export function routes(app: Hono<Env>, given: Omit<Given, "letters"> & { rateLimit?: RateLimit }): Hono<Env> {
  const letters = new OpenLetters(given.jsm);
  // The first look costs by the history of dead letters, which no customer should wait for. If it fails, a request looks and says so.
  letters.update().catch(() => undefined);
  const source: Given & { rateLimit?: RateLimit } = { ...given, letters };
  if (source.rateLimit !== undefined) app.on("POST", "/orders", limitRate(source.rateLimit));
  return app
    .get("/items", described(api.listItems), itemsRoute(source))
    .post("/orders", described(api.placeOrder), placeRoute(source))
    .get("/orders", described(api.listOrders), listRoute(source))
    .get("/orders/:id", described(api.getOrder), async (context) => {
      const standing = await findOrder(source, context.req.param("id"));
      const cancellation = await findCancellation(source, standing);
      const refund = await findRefund(source, standing);
      const answer: api.Order = {
        ...toJson(standing),
        ...(cancellation && { cancellation }),
        ...(refund && { refund }),
      };
      return context.json(answer);
    })
    .get("/orders/:id/events", described(api.followOrder), eventsRoute(source))
    .get("/orders/:id/timeline", described(api.getTimeline), timelineRoute(source))
    .post("/orders/:id/cancel", described(api.cancelOrder), cancelRoute(source));
}
