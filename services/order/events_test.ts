import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalogueItem, key, orderCreated, readLast } from "../../nats/mod.ts";
import { until } from "../../test/support/mod.ts";
import type { Order } from "./decide.ts";
import { body, openShop, readJson, type Shop } from "./test_shop.ts";

let shop: Shop;

beforeAll(async () => {
  shop = await openShop({ maxStreams: 3 });
  await shop.price("mug", 1_200n);
  await until("the catalogue", async () => {
    return (await readLast(shop.client.connection, "ORDER", key(catalogueItem, "mug"))).seq > 0;
  });
});
afterAll(() => shop[Symbol.asyncDispose]());

async function place(): Promise<Order> {
  const { order_id: orderId } = await readJson(await shop.post(body));
  const { value } = await readLast(shop.client.connection, "ORDER", key(orderCreated, orderId));
  if (value?.order === undefined) throw new Error(`no ${orderId}`);
  return value.order;
}

interface Received {
  id: string;
  event: string;
  data: { order_id: string; state: string; at: string; cause: string; reason?: string };
}

function listen({ orderId }: Order, lastEventId?: string): Response | Promise<Response> {
  const headers = lastEventId === undefined ? undefined : { "last-event-id": lastEventId };
  return shop.app.request(`/orders/${orderId}/events`, headers && { headers });
}

/** The stream's events one by one; comments are left out. */
async function* read(answer: Response): AsyncGenerator<Received> {
  let text = "";
  for await (const chunk of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name: string) =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field("data");
      if (data !== undefined)
        yield { id: field("id") ?? "", event: field("event") ?? "", data: JSON.parse(data) };
    }
  }
}

async function next(events: AsyncGenerator<Received>): Promise<string> {
  const { value } = await events.next();
  return `${value?.id} ${value?.data.state}`;
}

/** The stream is told that its reader is gone some ticks later. */
async function openStreams(count: number): Promise<void> {
  const { connection } = shop.client;
  const watching = async () => {
    await connection.flush();
    const answer = await fetch(`${shop.server.monitorUrl}/subsz?subs=1&limit=1000`);
    const { subscriptions_list: list } = (await answer.json()) as {
      subscriptions_list?: { subject: string }[];
    };
    return (list ?? []).filter(({ subject }) => subject.startsWith("watch.")).length === count;
  };
  await until(`${count} open streams`, watching);
}

describe("GET /orders/{id}/events", () => {
  it("sends every transition as it happens, and closes after the last", async () => {
    const order = await place();
    const answer = await listen(order);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toContain("text/event-stream");
    const events = read(answer);
    expect((await events.next()).value).toEqual({
      id: "1",
      event: "transition",
      data: {
        order_id: order.orderId,
        state: "created",
        at: expect.stringMatching(/Z$/),
        cause: "order.created",
      },
    });
    await shop.advance(order, "reserving", { cause: "order.created" });
    expect(await next(events)).toBe("2 reserving");
    await shop.advance(order, "screening");
    await shop.advance(order, "charging");
    expect(await next(events)).toBe("3 screening");
    expect(await next(events)).toBe("4 charging");
    await shop.advance(order, "releasing", { reason: "payment_declined" });
    await shop.advance(order, "cancelled", { reason: "payment_declined" });
    expect(await next(events)).toBe("5 releasing");
    expect((await events.next()).value).toMatchObject({
      id: "6",
      data: { state: "cancelled", reason: "payment_declined" },
    });
    expect((await events.next()).done).toBe(true);
    await openStreams(0);
  });

  it("resumes after Last-Event-ID, and says 204 when nothing will ever follow", async () => {
    const order = await place();
    await shop.advance(order, "reserving");
    await shop.advance(order, "screening");
    const live = read(await listen(order, "2"));
    expect(await next(live)).toBe("3 screening");
    await shop.advance(order, "completed");
    expect(await next(live)).toBe("4 completed");
    expect((await live.next()).done).toBe(true);

    const late = read(await listen(order, "1"));
    expect([await next(late), await next(late), await next(late)]).toEqual([
      "2 reserving",
      "3 screening",
      "4 completed",
    ]);
    expect((await late.next()).done).toBe(true);
    const over = await listen(order, "4");
    expect([over.status, await over.text()]).toEqual([204, ""]);
    const whole = read(await listen(order, ""));
    expect(await next(whole)).toBe("1 created");
    await whole.return(undefined);
    await openStreams(0);
  });

  it("sends all of a history that Last-Event-ID is beyond, of a live order and of one that has ended", async () => {
    const order = await place();
    await shop.advance(order, "reserving");
    const live = read(await listen(order, "99"));
    expect([await next(live), await next(live)]).toEqual(["1 created", "2 reserving"]);
    await shop.advance(order, "completed");
    expect(await next(live)).toBe("3 completed");
    expect((await live.next()).done).toBe(true);
    const ended = read(await listen(order, "99"));
    expect([await next(ended), await next(ended), await next(ended)]).toEqual([
      "1 created",
      "2 reserving",
      "3 completed",
    ]);
    expect((await ended.next()).done).toBe(true);
  });

  it("holds nothing for HEAD, however often it is asked", async () => {
    const order = await place();
    for (let i = 0; i < 5; i++) {
      const head = await shop.app.request(`/orders/${order.orderId}/events`, { method: "HEAD" });
      expect([head.status, head.headers.get("content-type"), head.body]).toEqual([
        200,
        "text/event-stream",
        null,
      ]);
    }
    const events = read(await listen(order));
    expect(await next(events)).toBe("1 created");
    await events.return(undefined);
    await openStreams(0);
  });

  it("gives back the place of a client that is gone before it has read anything", async () => {
    const order = await place();
    for (let i = 0; i < 5; i++) {
      const gone = new AbortController();
      const answer = await shop.app.request(`/orders/${order.orderId}/events`, { signal: gone.signal });
      expect(answer.status).toBe(200);
      gone.abort();
    }
    await openStreams(0);
  });

  it("gives the place of a client that does not read to somebody else after a while", async () => {
    const order = await place();
    await using brief = await openShop({ maxStreams: 1, maxStreamMs: 50, beside: shop });
    const stalled = await brief.app.request(`/orders/${order.orderId}/events`);
    expect(stalled.status).toBe(200);
    const another = await until("its place", async () => {
      const answer = await brief.app.request(`/orders/${order.orderId}/events`);
      return answer.status === 200 ? answer : undefined;
    });
    await another.body?.cancel();
    expect(await stalled.text()).toBe("");
    await openStreams(0);
  });

  it("finds what happened while NATS was away", async () => {
    const order = await place();
    const events = read(await listen(order));
    expect(await next(events)).toBe("1 created");
    await shop.server.restart();
    await until("the coordinator", () =>
      shop.advance(order, "reserving").then(
        () => true,
        () => false,
      ),
    );
    expect(await next(events)).toBe("2 reserving");
    await events.return(undefined);
    await openStreams(0);
  });

  it("takes so many streams and no more, and forgets those whose client is gone", async () => {
    const order = await place();
    const answers = await Promise.all([listen(order), listen(order), listen(order)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    // A stream begins when it is read.
    const streams = answers.map(read);
    for (const stream of streams) expect(await next(stream)).toBe("1 created");
    await openStreams(3);
    const refused = await listen(order);
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ type: "urn:problem:shop:too-many-streams" });
    await streams[0]?.return(undefined);
    await openStreams(2);
    const another = await listen(order);
    expect(another.status).toBe(200);
    await another.body?.cancel();
    for (const stream of streams.slice(1)) await stream.return(undefined);
    await openStreams(0);
  });

  it("refuses an unknown order and a malformed Last-Event-ID", async () => {
    expect((await shop.app.request("/orders/ord_unknown/events")).status).toBe(404);
    for (const lastEventId of ["-1", "1.5", "abc", "1".repeat(10)]) {
      expect((await listen(await place(), lastEventId)).status).toBe(400);
    }
  });

  it("ends every stream when the service drains, and opens no more", async () => {
    const order = await place();
    const events = read(await listen(order));
    expect(await next(events)).toBe("1 created");
    shop.draining.abort();
    expect((await events.next()).done).toBe(true);
    expect((await listen(order)).status).toBe(503);
    await openStreams(0);
  });
});
