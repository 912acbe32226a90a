import { create, type Message } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { CloseReviewSchema } from "../../gen/shop/checkout/v1/close_review_pb.ts";
import { ScreenOrderSchema } from "../../gen/shop/checkout/v1/screen_order_pb.ts";
import { ReviewDueSchema } from "../../gen/shop/fraud/v1/review_due_pb.ts";
import { message, orderCleared, screening } from "../../nats/contracts/mod.ts";
import type { AnyHandler } from "../../nats/mod.ts";
import { firstDelivery, MemoryView } from "../../test/support/mod.ts";
import { decideReview, handlers, screeningOf } from "./decide.ts";

const ttlMs = 60_000;
const [screen, close, expire] = handlers({ reviewTtlMs: ttlMs });
const start = firstDelivery.now;
const expires = new Date(start.getTime() + ttlMs);

const ordinary = create(ScreenOrderSchema, { order: { orderId: "o1", totalCents: 1_200n } });
const suspicious = create(ScreenOrderSchema, {
  order: {
    orderId: "o1",
    totalCents: 90_000_000n,
    shippingAddress: { line1: "Freight Forwarding Ltd", line2: "c/o Freight Forwarding" },
  },
});
const closeCommand = create(CloseReviewSchema, { orderId: "o1", reason: "customer_request" });
const due = create(ReviewDueSchema, { orderId: "o1" });

const statuses = ["cleared", "in_review", "approved", "rejected", "expired", "closed"] as const;
type Status = (typeof statuses)[number];

/** A ledger in which order o1 has been screened to `status`. */
function screened(status: Status): MemoryView {
  const expiresAt = timestampFromDate(expires);
  const made = { approved: "approve", rejected: "reject" }[status as string];
  const decision = made === undefined ? {} : { decision: { decision: made, reviewer: "eve", note: "" } };
  const view = new MemoryView();
  view.store([
    status === "cleared"
      ? message(orderCleared, "o1", { orderId: "o1" })
      : message(screening, "o1", { orderId: "o1", status, expiresAt, ...decision }),
  ]);
  view.log.length = 0;
  return view;
}

function statusOf(view: MemoryView): string | undefined {
  return screeningOf(view.get(screening, "o1"), view.get(orderCleared, "o1"))?.status;
}

function handle(view: MemoryView, handler: AnyHandler, command: Message, now: Date = start) {
  return view.handle(handler, command, { now });
}

describe("screen", () => {
  it("clears an order that no rule speaks against", () => {
    const view = new MemoryView();
    expect(handle(view, screen, ordinary).subjects).toEqual(["fraud.order_cleared.o1"]);
    expect(statusOf(view)).toBe("cleared");
    expect(handle(view, screen, ordinary).subjects).toEqual([]);
  });

  it("says of an order that is cleared who it is for and for how much, and nothing of the means of payment", () => {
    const view = new MemoryView();
    const customer = { id: "cus_1", email: "ada@example.com", plan: "standard" };
    const shippingAddress = { name: "Ada", line1: "12 High Street" };
    const lines = [{ sku: "mug", quantity: 1 }];
    const paid = { customer, shippingAddress, lines, paymentToken: "tok_visa" };
    handle(
      view,
      screen,
      create(ScreenOrderSchema, { order: { orderId: "o1", totalCents: 1_200n, ...paid } }),
    );
    expect(view.get(orderCleared, "o1")).toMatchObject({
      orderId: "o1",
      order: { orderId: "o1", totalCents: 1_200n, customer, shippingAddress, lines: [], paymentToken: "" },
    });
  });

  it.each([ordinary, suspicious])(
    "names what begins with it, which is what its guard protects",
    (command) => {
      const view = new MemoryView();
      const begun = screen.begins?.(command, "o1").map(({ subject }) => subject) ?? [];
      expect(handle(view, screen, command).subjects).toEqual(expect.arrayContaining(begun));
      expect(screen.keys(command, "o1").map(({ subject }) => subject)).toEqual(expect.arrayContaining(begun));
    },
  );

  it("opens a review with its evidence and a timer", () => {
    const view = new MemoryView();
    expect(handle(view, screen, suspicious).subjects).toEqual([
      "fraud.screening.o1",
      "fraud.order_flagged.o1",
      "fraud.review_timer.o1",
    ]);
    expect(view.get(screening, "o1")).toMatchObject({
      status: "in_review",
      flaggedAt: timestampFromDate(start),
      expiresAt: timestampFromDate(expires),
      order: { totalCents: 90_000_000n },
      evidence: [
        { rule: "freight_forwarder", field: "shipping_address.line1" },
        { rule: "freight_forwarder", field: "shipping_address.line2" },
        { rule: "very_large_order", field: "total_cents" },
      ],
    });
    expect(view.log[1]?.value).toMatchObject({ rules: ["freight_forwarder", "very_large_order"] });
    expect(view.log[2]?.schedule).toEqual({ at: expires, target: "fraud.review_due.o1" });
  });

  it.each(statuses)("opens no review of an order that is %s", (status) => {
    expect(handle(screened(status), screen, suspicious)).toEqual({
      outcome: { kind: "done", messages: [] },
      subjects: [],
    });
  });

  it("clears an order that was closed before it came, whose checkout does not listen any more", () => {
    const view = screened("closed");
    expect(handle(view, screen, ordinary).subjects).toEqual(["fraud.order_cleared.o1"]);
    expect(statusOf(view)).toBe("closed");
    for (const command of [ordinary, suspicious]) expect(handle(view, screen, command).subjects).toEqual([]);
    expect(handle(view, close, closeCommand).subjects).toEqual([]);
  });

  it("gives up on a command without an order", () => {
    const { outcome } = handle(new MemoryView(), screen, create(ScreenOrderSchema));
    expect(outcome.kind).toBe("dead");
  });
});

describe("close", () => {
  it("marks an order that has not been screened, so that no review of it is opened", () => {
    const view = new MemoryView();
    expect(handle(view, close, closeCommand).subjects).toEqual(["fraud.screening.o1"]);
    expect(handle(view, screen, suspicious).subjects).toEqual([]);
    expect(statusOf(view)).toBe("closed");
  });

  it("takes an open review and its timer away, and says nothing", () => {
    const view = screened("in_review");
    expect(handle(view, close, closeCommand).subjects).toEqual(["fraud.screening.o1"]);
    expect(statusOf(view)).toBe("closed");
    expect(view.log[0]?.cancels).toBe("fraud.review_timer.o1");
  });

  it.each(statuses.filter((status) => status !== "in_review"))("leaves an order that is %s", (status) => {
    expect(handle(screened(status), close, closeCommand).subjects).toEqual([]);
  });
});

describe("expire", () => {
  it("ends an open review at its deadline", () => {
    const view = screened("in_review");
    expect(handle(view, expire, due, expires).subjects).toEqual([
      "fraud.screening.o1",
      "fraud.review_expired.o1",
    ]);
    expect(statusOf(view)).toBe("expired");
    expect(handle(view, expire, due, expires).subjects).toEqual([]);
  });

  it("waits for the rest of the time when the timer fires early", () => {
    const early = new Date(expires.getTime() - 250);
    const { outcome, subjects } = handle(screened("in_review"), expire, due, early);
    expect(outcome).toMatchObject({ kind: "retry", delayMs: 250 });
    expect(subjects).toEqual([]);
  });

  it.each(statuses.filter((status) => status !== "in_review"))("leaves an order that is %s", (status) => {
    expect(handle(screened(status), expire, due, expires).subjects).toEqual([]);
  });

  it("leaves an order that nobody has screened", () => {
    expect(handle(new MemoryView(), expire, due, expires).subjects).toEqual([]);
  });
});

describe("decideReview()", () => {
  const verdict = { reviewer: "eve", note: "called them" } as const;

  function decide(
    view: MemoryView,
    decision: "approve" | "reject",
    options: { reviewer?: string; now?: Date } = {},
  ) {
    const { messages, result } = decideReview(view, "o1", { ...verdict, decision, now: start, ...options });
    view.store(messages);
    return { subjects: messages.map(({ subject }) => subject), result };
  }

  it.each([
    ["approve", "approved"],
    ["reject", "rejected"],
  ] as const)("%s: the review is %s, its timer goes, and the decision is told", (decision, status) => {
    const view = screened("in_review");
    const { subjects, result } = decide(view, decision);
    expect(subjects).toEqual(["fraud.screening.o1", `fraud.review_${status}.o1`]);
    expect(result).toMatchObject({
      kind: "decided",
      screening: { status, decision: { decision, ...verdict, decidedAt: timestampFromDate(start) } },
    });
    expect(view.log[0]?.cancels).toBe("fraud.review_timer.o1");
    expect(view.log[1]?.value).toMatchObject({ orderId: "o1", ...verdict });
  });

  it("answers the same decision by the same reviewer alike, and stores it once", () => {
    const view = screened("in_review");
    const first = decide(view, "approve");
    const second = decide(view, "approve");
    expect(second).toEqual({ subjects: [], result: first.result });
  });

  it.each([
    ["approved", "reject", "eve"],
    ["approved", "approve", "mallory"],
    ["rejected", "approve", "eve"],
    ["rejected", "reject", "mallory"],
  ] as const)("refuses, on a review that is %s, to %s it as %s", (status, decision, reviewer) => {
    expect(decide(screened(status), decision, { reviewer })).toEqual({
      subjects: [],
      result: { kind: "refused", detail: `Order o1 is ${status} already, by eve` },
    });
  });

  it.each([
    ["cleared", /never in review/],
    ["expired", /has expired/],
    ["closed", /cancelled/],
  ] as const)("refuses on an order that is %s", (status, detail) => {
    for (const decision of ["approve", "reject"] as const) {
      expect(decide(screened(status), decision)).toEqual({
        subjects: [],
        result: { kind: "refused", detail: expect.stringMatching(detail) },
      });
    }
  });

  it("refuses from the deadline on, though the timer has not come yet", () => {
    expect(decide(screened("in_review"), "approve", { now: expires }).result.kind).toBe("refused");
    const justBefore = new Date(expires.getTime() - 1);
    expect(decide(screened("in_review"), "approve", { now: justBefore }).result.kind).toBe("decided");
  });

  it("knows nothing of an order that has not been screened", () => {
    expect(decide(new MemoryView(), "approve")).toEqual({ subjects: [], result: { kind: "unknown" } });
  });
});
