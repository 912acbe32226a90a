import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectService, consume, createApp, createLog, type Service } from "../../lib/mod.ts";
import {
  applyTopology,
  type Contract,
  closeReview,
  commit,
  encode,
  key,
  screening,
  screenOrder,
  subjectOf,
  viewLast,
} from "../../nats/mod.ts";
import { checked, namedHeaders, startNats, until } from "../../test/support/mod.ts";
import { routes } from "./app.ts";
import { readFraudConfig } from "./config.ts";
import { handlers } from "./decide.ts";

interface Page {
  reviews: { order_id: string; flagged_at: string; expires_at: string }[];
  next_cursor?: string;
}

function idsOf({ reviews }: Page): string[] {
  return reviews.map((review) => review.order_id);
}

const operator = { authorization: "Bearer secret" };

/** Fraud on a nats-server of its own, consuming and answering. */
async function startFraud(stack: AsyncDisposableStack, reviewTtlMs: number) {
  const nats = stack.use(await startNats());
  await applyTopology({ servers: nats.url });
  const config = readFraudConfig({ NATS_URL: nats.url, OPERATOR_TOKEN: "secret", LOG_LEVEL: "silent" });
  const service = await connectService("fraud", { config, log: createLog("fraud"), stack });
  consume(service, handlers({ reviewTtlMs }));
  return {
    service,
    app: checked(routes(createApp(service), { ...service, operatorToken: config.OPERATOR_TOKEN })),
  };
}

/** Stores a command as the coordinator would. */
async function command<S extends DescMessage>(
  service: Service,
  contract: Contract<S>,
  orderId: string,
  init: MessageInitShape<S>,
): Promise<void> {
  const data = encode(contract, create(contract.schema, init));
  const headers = await namedHeaders(service, contract);
  const entry = { subject: subjectOf(contract, orderId), data, headers };
  expect(await commit(service.connection, "CHECKOUT", [entry])).toMatchObject({ kind: "committed" });
}

function flagged(orderId: string): MessageInitShape<typeof screenOrder.schema> {
  return {
    order: {
      orderId,
      customer: { id: "cus_1", email: "ada@example.com", plan: "standard" },
      shippingAddress: { name: "Ada", line1: "Freight Forwarding Ltd", city: "York", country: "GB" },
      totalCents: 1_200n,
      currency: "EUR",
    },
  };
}

function ordinary(orderId: string): MessageInitShape<typeof screenOrder.schema> {
  return { order: { orderId, totalCents: 1_200n, currency: "EUR" } };
}

/** Waits until every command that was stored has been handled. */
async function settled({ jsm }: Service): Promise<void> {
  const { last_seq } = (await jsm.streams.info("CHECKOUT")).state;
  await until("the commands to be handled", async () => {
    return (await jsm.consumers.info("CHECKOUT", "fraud")).ack_floor.stream_seq === last_seq;
  });
}

async function statusOf({ jsm }: Service, orderId: string): Promise<string | undefined> {
  return (await viewLast(jsm, "FRAUD", key(screening, orderId)))?.status;
}

/** How many messages the ledger holds about an order, by subject. */
async function stored({ jsm }: Service, orderId: string): Promise<Record<string, number>> {
  const info = await jsm.streams.info("FRAUD", { subjects_filter: `fraud.*.${orderId}` });
  return info.state.subjects ?? {};
}

describe("fraud", () => {
  const stack = new AsyncDisposableStack();
  let service: Service;
  let app: ReturnType<typeof routes>;

  beforeAll(async () => {
    ({ service, app } = await startFraud(stack, 3_600_000));
  });
  afterAll(() => stack.disposeAsync());

  function get(path: string, headers: Record<string, string> = operator) {
    return app.request(path, { headers });
  }

  function decide(orderId: string, body: unknown, headers: Record<string, string> = operator) {
    return app.request(`/reviews/${orderId}/decision`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  async function page(query = ""): Promise<Page> {
    return (await (await get(`/reviews${query}`)).json()) as Page;
  }

  it("has one effect for a command that comes twice", async () => {
    for (let n = 1; n <= 2; n++) {
      await command(service, screenOrder, "twice-1", ordinary("twice-1"));
      await command(service, screenOrder, "twice-2", flagged("twice-2"));
    }
    await settled(service);
    expect(await stored(service, "twice-1")).toEqual({ "fraud.order_cleared.twice-1": 1 });
    expect(await stored(service, "twice-2")).toEqual({
      "fraud.screening.twice-2": 1,
      "fraud.order_flagged.twice-2": 1,
      "fraud.review_timer.twice-2": 1,
    });
    for (let n = 1; n <= 2; n++) await command(service, closeReview, "twice-2", { orderId: "twice-2" });
    await settled(service);
    expect(await stored(service, "twice-2")).toEqual({
      "fraud.screening.twice-2": 2,
      "fraud.order_flagged.twice-2": 1,
    });
  });

  it("opens no review of an order that was closed before it came", async () => {
    await command(service, closeReview, "closed-1", { orderId: "closed-1" });
    await command(service, screenOrder, "closed-1", flagged("closed-1"));
    await settled(service);
    expect(await stored(service, "closed-1")).toEqual({ "fraud.screening.closed-1": 1 });
    expect(await (await get("/reviews/closed-1")).json()).toEqual({
      order_id: "closed-1",
      status: "closed",
      evidence: [],
    });
  });

  it("closes nothing of an order that is cleared, and clears nothing twice though its review was closed", async () => {
    await command(service, screenOrder, "cleared-1", ordinary("cleared-1"));
    await command(service, closeReview, "cleared-1", { orderId: "cleared-1" });
    await command(service, closeReview, "closed-2", { orderId: "closed-2" });
    for (let n = 1; n <= 2; n++) await command(service, screenOrder, "closed-2", ordinary("closed-2"));
    await settled(service);
    expect(await stored(service, "cleared-1")).toEqual({ "fraud.order_cleared.cleared-1": 1 });
    expect(await stored(service, "closed-2")).toEqual({
      "fraud.screening.closed-2": 1,
      "fraud.order_cleared.closed-2": 1,
    });
    expect(await (await get("/reviews/closed-2")).json()).toMatchObject({ status: "closed" });
  });

  it("GET /reviews/{order} shows an order that was cleared", async () => {
    const { order } = flagged("cleared-2");
    const shippingAddress = { ...order?.shippingAddress, line1: "12 High Street", postalCode: "YO1 7HH" };
    const init = { order: { ...order, shippingAddress } } as MessageInitShape<typeof screenOrder.schema>;
    await command(service, screenOrder, "cleared-2", init);
    await settled(service);
    expect(await (await get("/reviews/cleared-2")).json()).toEqual({
      order_id: "cleared-2",
      status: "cleared",
      evidence: [],
      total_cents: 1_200,
      currency: "EUR",
      customer: { id: "cus_1", email: "ada@example.com", plan: "standard" },
      shipping_address: {
        name: "Ada",
        line1: "12 High Street",
        line2: "",
        city: "York",
        postal_code: "YO1 7HH",
        country: "GB",
      },
    });
  });

  it("GET /reviews lists what is open, oldest first, page by page", async () => {
    for (const n of [1, 2, 3, 4, 5]) await command(service, screenOrder, `page-${n}`, flagged(`page-${n}`));
    await command(service, screenOrder, "page-cleared", ordinary("page-cleared"));
    await settled(service);
    expect((await decide("page-2", { decision: "approve", reviewer: "eve" })).status).toBe(200);
    expect(idsOf(await page())).toEqual(["page-1", "page-3", "page-4", "page-5"]);

    const pages: string[][] = [];
    for (let cursor = ""; ; ) {
      const body = await page(`?status=in_review&limit=2${cursor}`);
      pages.push(idsOf(body));
      if (body.next_cursor === undefined) break;
      cursor = `&cursor=${body.next_cursor}`;
    }
    expect(pages).toEqual([
      ["page-1", "page-3"],
      ["page-4", "page-5"],
    ]);
  });

  it("GET /reviews shows what a reviewer needs, and nothing of the means of payment", async () => {
    await command(service, screenOrder, "shown", flagged("shown"));
    await settled(service);
    const shown = (await page()).reviews.find((review) => review.order_id === "shown");
    expect(shown).toEqual({
      order_id: "shown",
      status: "in_review",
      flagged_at: expect.stringMatching(/Z$/),
      expires_at: expect.stringMatching(/Z$/),
      evidence: [
        {
          rule: "freight_forwarder",
          field: "shipping_address.line1",
          value: "Freight Forwarding Ltd",
          explanation: expect.any(String),
        },
      ],
      total_cents: 1_200,
      currency: "EUR",
      customer: { id: "cus_1", email: "ada@example.com", plan: "standard" },
      shipping_address: {
        name: "Ada",
        line1: "Freight Forwarding Ltd",
        line2: "",
        city: "York",
        postal_code: "",
        country: "GB",
      },
    });
    expect(Date.parse(shown?.expires_at ?? "") - Date.parse(shown?.flagged_at ?? "")).toBe(3_600_000);
  });

  it("POST decision is stored once, answered alike when repeated, and 409 when it differs", async () => {
    await command(service, screenOrder, "decided", flagged("decided"));
    await settled(service);
    const verdict = { decision: "reject", reviewer: "eve", note: "no such street" };
    const [first, second] = await Promise.all([decide("decided", verdict), decide("decided", verdict)]);
    expect([first.status, second.status]).toEqual([200, 200]);
    const body = await first.json();
    expect(await second.json()).toEqual(body);
    expect(body).toMatchObject({
      status: "rejected",
      decision: { ...verdict, decided_at: expect.any(String) },
    });

    const other = await decide("decided", { ...verdict, decision: "approve" });
    expect(other.status).toBe(409);
    expect(other.headers.get("content-type")).toBe("application/problem+json");
    expect(await other.json()).toMatchObject({ detail: "Order decided is rejected already, by eve" });
    expect(await stored(service, "decided")).toEqual({
      "fraud.screening.decided": 2,
      "fraud.order_flagged.decided": 1,
      "fraud.review_rejected.decided": 1,
    });
  });

  it("POST decision gives the last word to one of two reviewers who disagree at once", async () => {
    await command(service, screenOrder, "raced", flagged("raced"));
    await settled(service);
    const answers = await Promise.all([
      decide("raced", { decision: "approve", reviewer: "eve" }),
      decide("raced", { decision: "reject", reviewer: "bob" }),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  });

  it("POST decision is 409 for a cleared order and 404 for one that nobody knows", async () => {
    await command(service, screenOrder, "cleared", ordinary("cleared"));
    await settled(service);
    const verdict = { decision: "approve", reviewer: "eve" };
    expect((await decide("cleared", verdict)).status).toBe(409);
    expect((await decide("ghost", verdict)).status).toBe(404);
    expect((await decide("no*such.order", verdict)).status).toBe(404);
    expect((await get("/reviews/ghost")).status).toBe(404);
    expect((await get("/reviews/%3E")).status).toBe(404);
  });

  it.each([
    ["no decision", { reviewer: "eve" }],
    ["another decision", { decision: "maybe", reviewer: "eve" }],
    ["no reviewer", { decision: "approve" }],
    ["a blank reviewer", { decision: "approve", reviewer: "  " }],
    ["a reviewer too long", { decision: "approve", reviewer: "e".repeat(101) }],
    ["a note too long", { decision: "approve", reviewer: "eve", note: "n".repeat(1_001) }],
    ["an unknown member", { decision: "approve", reviewer: "eve", force: true }],
  ])("POST decision with %s is 422", async (_, body) => {
    expect((await decide("ghost", body)).status).toBe(422);
  });

  it.each(["status=approved", "limit=0", "limit=101", "cursor=x", "page=2"])(
    "GET /reviews?%s is 400",
    async (query) => {
      expect((await get(`/reviews?${query}`)).status).toBe(400);
    },
  );

  it("answers operators only", async () => {
    for (const headers of [{}, { authorization: "Bearer wrong" }] as Record<string, string>[]) {
      expect((await get("/reviews", headers)).status).toBe(401);
      expect((await get("/reviews/shown", headers)).status).toBe(401);
      const verdict = { decision: "approve", reviewer: "mallory" };
      expect((await decide("shown", verdict, headers)).status).toBe(401);
    }
    expect(await statusOf(service, "shown")).toBe("in_review");
  });
});

describe("a review's timer", () => {
  it("expires what nobody decided, once", async () => {
    await using stack = new AsyncDisposableStack();
    const { service, app } = await startFraud(stack, 500);
    await command(service, screenOrder, "late", flagged("late"));
    await until("the review to expire", async () => (await statusOf(service, "late")) === "expired");
    expect(await stored(service, "late")).toEqual({
      "fraud.screening.late": 2,
      "fraud.order_flagged.late": 1,
      "fraud.review_due.late": 1,
      "fraud.review_expired.late": 1,
    });
    const decision = await app.request("/reviews/late/decision", {
      method: "POST",
      headers: { ...operator, "content-type": "application/json" },
      body: JSON.stringify({ decision: "approve", reviewer: "eve" }),
    });
    expect(decision.status).toBe(409);
    expect(await (await app.request("/reviews", { headers: operator })).json()).toEqual({ reviews: [] });
  });
});
