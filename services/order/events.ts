import { setMaxListeners } from "node:events";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Context } from "hono";
import { type Env, Problem, pulled, type RequestLog, toTime } from "../../lib/mod.ts";
import { checkoutState, decode, subjectOf } from "../../nats/mod.ts";
import { LastEventId } from "./api.ts";
import { findOrder, fromCheckout, hasEnded, type Source, type Standing } from "./status.ts";

export interface EventSource extends Source {
  connection: NatsConnection;
  /** Aborted when the service drains: then every stream is closed, and clients come back to another process. */
  draining: AbortSignal;
  /** Streams open at the same time. Default {@linkcode MAX_STREAMS}. */
  maxStreams?: number;
  /** Default {@linkcode MAX_STREAM_MS}. */
  maxStreamMs?: number;
}

/** Each open stream holds a connection, a subscription and a read every {@linkcode READ_EVERY_MS}. */
export const MAX_STREAMS = 1_000;
/**
 * A client whose host has vanished, or that does not read, is not noticed by writing a heartbeat to it. After this its
 * place is somebody else's; an EventSource that is still there comes back by itself and goes on where it was.
 */
export const MAX_STREAM_MS = 60 * 60_000;
/** Pushed snapshots come at most once: what was lost on the way is found by reading again. */
const READ_EVERY_MS = 5_000;
/** A comment, so that proxies do not take a quiet stream for a dead one. */
const HEARTBEAT_MS = 15_000;

/**
 * `GET /orders/{id}/events`: Server-Sent Events, one `transition` per entry of the order's history, in order, with the
 * entry's number (from 1) as its id. With `Last-Event-ID` only later ones; an id that the history does not reach is of
 * another history (a store that was restored, a mistake), and all entries are sent. The stream closes after the end state;
 * whoever comes back for more then gets 204, which tells an EventSource to stop.
 *
 * 400 for a malformed Last-Event-ID, 404 for an unknown order, 503 with too many streams open.
 */
export function eventsRoute(source: EventSource): (context: Context<Env>) => Promise<Response> {
  const { connection, draining, maxStreams = MAX_STREAMS, maxStreamMs = MAX_STREAM_MS } = source;
  const reconnected = new EventTarget();
  // One listener for each open stream is no leak.
  setMaxListeners(maxStreams, reconnected);
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === "reconnect") reconnected.dispatchEvent(new Event("reconnect"));
    }
  })();
  let open = 0;

  return async (context) => {
    const orderId = context.req.param("id") ?? "";
    const lastEventId = readLastEventId(context.req.header("last-event-id"));
    const standing = await findOrder(source, orderId);
    const { length } = standing.history;
    if (hasEnded(standing) && lastEventId === length) return context.body(null, 204);
    if (open >= maxStreams || draining.aborted) throw tooManyStreams();

    open += 1;
    const log = context.var.log.child({ order_id: orderId });
    const lastSent = lastEventId > length ? 0 : lastEventId;
    const stream = pulled(
      (signal) => frames(follow(source, orderId, { signal, log, reconnected }), { lastSent, log }),
      {
        // The request's own signal aborts when its connection is closed.
        signal: AbortSignal.any([context.req.raw.signal, draining]),
        maxMs: maxStreamMs,
        onEnd: () => {
          open -= 1;
        },
      },
    );
    return context.body(stream, 200, {
      "content-type": "text/event-stream",
      "cache-control": "no-cache",
      // Kept alive, the connection would hold up the drain of the server after its stream has ended.
      connection: "close",
    });
  };
}

/** What is new of each snapshot, as text of the stream, until the end state is sent or there are no more snapshots. */
async function* frames(
  standings: AsyncIterable<Standing | undefined>,
  { lastSent, log }: { lastSent: number; log: RequestLog },
): AsyncGenerator<string> {
  let sent = lastSent;
  // The first comment is due at once: the client of a stream that begins quietly sees that it is open.
  let lastWrite = Number.NEGATIVE_INFINITY;
  try {
    for await (const standing of standings) {
      for (const transition of standing?.history.slice(sent) ?? []) {
        sent += 1;
        lastWrite = performance.now();
        const data = JSON.stringify(transitionJson(standing as Standing, transition));
        yield `event: transition\ndata: ${data}\nid: ${sent}\n\n`;
      }
      if (standing !== undefined && hasEnded(standing)) return;
      if (performance.now() - lastWrite < HEARTBEAT_MS) continue;
      lastWrite = performance.now();
      yield ":\n\n";
    }
  } catch (cause) {
    log.error({ err: cause }, "an event stream failed");
  }
}

/**
 * Where the order stands: at once, whenever its checkout is stored anew, after NATS was away, and every
 * {@linkcode READ_EVERY_MS}; undefined if that cannot be read right now. A snapshot may repeat or be older than the one
 * before; each holds the whole history, so that only the latest one that was pushed needs to be kept.
 */
async function* follow(
  source: EventSource,
  orderId: string,
  options: { signal: AbortSignal; log: RequestLog; reconnected: EventTarget },
): AsyncGenerator<Standing | undefined> {
  const { signal, log, reconnected } = options;
  let pushed: Uint8Array | undefined;
  let bell = Promise.withResolvers<void>();
  const ring = () => bell.resolve();
  // Before the first read, so that nothing falls in between.
  const subscription = source.connection.subscribe(`watch.${subjectOf(checkoutState, orderId)}`, {
    callback: (error, msg) => {
      if (error !== null) log.warn({ err: error }, "cannot watch an order");
      else pushed = msg.data;
      ring();
    },
  });
  signal.addEventListener("abort", ring);
  reconnected.addEventListener("reconnect", ring);
  try {
    while (!signal.aborted) {
      bell = Promise.withResolvers();
      const data = pushed;
      pushed = undefined;
      try {
        yield data ? fromCheckout(decode(checkoutState, data)) : await findOrder(source, orderId);
      } catch (cause) {
        log.warn({ err: cause }, "cannot read an order for its event stream, trying again");
        yield undefined;
      }
      const timer = setTimeout(ring, READ_EVERY_MS);
      await bell.promise;
      clearTimeout(timer);
    }
  } finally {
    subscription.unsubscribe();
    signal.removeEventListener("abort", ring);
    reconnected.removeEventListener("reconnect", ring);
  }
}

function transitionJson(standing: Standing, { state, at, cause }: Standing["history"][number]) {
  const { order, reason } = standing;
  const cancelling = state === "refunding" || state === "releasing" || state === "cancelled";
  return {
    order_id: order.orderId,
    state,
    at: toTime(at),
    cause,
    ...(cancelling && reason !== "" && { reason }),
  };
}

function readLastEventId(header: string | undefined): number {
  const read = LastEventId.safeParse(header ?? "");
  if (read.success) return Number(read.data);
  throw new Problem(400, "malformed-last-event-id", {
    title: "Malformed Last-Event-ID",
    detail: "Send the id of the last event that you received, which is a number, or leave Last-Event-ID out",
  });
}

function tooManyStreams(): Problem {
  return new Problem(503, "too-many-streams", {
    title: "Too many streams",
    detail: "As many event streams are open as this process takes. Try again, or poll the order",
    headers: { "retry-after": "5" },
  });
}
