import type { NatsConnection } from "@nats-io/transport-node";
import type { Context } from "hono";
import { type Env, Problem } from "../../lib/mod.ts";
import { readStory, storyJson } from "../../nats/mod.ts";
import { findOrder, type Source, unknownOrder } from "./status.ts";
import type { Timeline } from "./timeline_api.ts";

export interface TimelineSource extends Source {
  connection: NatsConnection;
  /** Address of a trace, with `{trace_id}` where its id goes. Default: answers name no address. */
  traceUrl?: string | undefined;
  /** Timelines that are read at the same time. Default {@linkcode MAX_TIMELINES}. */
  maxTimelines?: number;
}

/** Each is some forty requests to the servers, and as many messages as the order has: orders that are placed go first. */
const MAX_TIMELINES = 16;

/**
 * `GET /orders/{id}/timeline`: everything that the streams hold about the order, in order: `{"order_id","trace_id",
 * "trace_url"?,"entries":[…],"truncated"?}`. Open as the order itself is: nothing of a person or of a means of payment, no
 * error, no note and no rule is in it.
 *
 * 404 for an unknown order, 503 with too many of them under way.
 */
export function timelineRoute(source: TimelineSource): (context: Context<Env>) => Promise<Response> {
  const { traceUrl, maxTimelines = MAX_TIMELINES } = source;
  let underWay = 0;
  return async (context) => {
    const { order } = await findOrder(source, context.req.param("id") ?? "");
    if (underWay >= maxTimelines) throw tooMany();
    underWay += 1;
    try {
      const story = await readStory(source, order.orderId);
      if (story === undefined) throw unknownOrder(order.orderId);
      const answer: Timeline = storyJson(story, { traceUrl });
      return context.json(answer);
    } finally {
      underWay -= 1;
    }
  };
}

function tooMany(): Problem {
  return new Problem(503, "too-many-timelines", {
    title: "Too many timelines",
    detail: "As many timelines are being read as this process reads at once. Try again",
    headers: { "retry-after": "1" },
  });
}
