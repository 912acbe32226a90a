import { readFile } from "node:fs/promises";
import { stripVTControlCharacters } from "node:util";
import { jetstream } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redriveDeadLetter } from "../nats/mod.ts";
import { runOps } from "../ops/program.ts";
import { collect } from "../ops/testing.ts";
import {
  type AnswerCheck,
  checkOf,
  exampleOrder,
  faultsOf,
  flaggedAddress,
  openShop,
  openStreams,
  operator,
  placesAbout,
  readLedgers,
  type Streams,
  type TestShop,
  type TimelineEntryView,
  type TimelineView,
  until,
} from "./support/mod.ts";

const REVIEWER = "eve.the.reviewer";
const NOTE = "called the customer";
const TRACE_URL = "http://127.0.0.1:16686/trace/{trace_id}";

let shop: TestShop;
let streams: Streams;
let description: Promise<AnswerCheck> | undefined;
/** Orders that wait for seconds, all at the same time: for a capture that comes too late, and for a review that nobody makes. */
let late: string;
let expired: string;
beforeAll(async () => {
  shop = await openShop({
    CHARGING_DEADLINE_MS: "5000",
    SANDBOX_SLOW_MS: "7000",
    REVIEW_TTL_MS: "6000",
    TRACE_URL,
  });
  streams = await openStreams(shop.shop.operator);
  [late, expired] = await Promise.all([
    shop.place({ payment_token: "tok_slow" }),
    shop.place({ shipping_address: flaggedAddress, customer: { ...exampleOrder.customer, id: "cus_2" } }),
  ]);
});
afterAll(async () => {
  await streams[Symbol.asyncDispose]();
  await shop[Symbol.asyncDispose]();
});

async function ops(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return opsOn({}, ...args);
}

async function opsOn(terminal: object, ...args: string[]) {
  const { output, text } = collect();
  Object.assign(output.out, terminal);
  const environment = { NATS_URL: shop.shop.natsUrl, DATA_DIR: shop.folder, TRACE_URL };
  const code = await runOps(["order", ...args], { output, environment });
  return { code, ...text() };
}

/** As the service describes it. */
async function timelineOf(id: string): Promise<TimelineView> {
  const path = `/orders/${id}/timeline`;
  const answer = await fetch(`${shop.shop.url("order")}${path}`);
  expect(answer.status).toBe(200);
  description ??= shop
    .call<Parameters<typeof checkOf>[0]>("order", "/openapi.json")
    .then(({ body }) => checkOf(body));
  await (await description)({ method: "GET", path }, answer);
  return (await answer.json()) as TimelineView;
}

/** The timeline of an order about which nothing is under way: all of it, in order, and without a secret. */
async function wholeTimelineOf(id: string): Promise<TimelineView> {
  await shop.ends(id);
  await streams.quiet();
  const timeline = await timelineOf(id);
  const places = timeline.entries.map(({ stream, sequence }) => `${stream}/${sequence}`);
  expect(places.toSorted()).toEqual(placesAbout(await readLedgers(streams.jsm), id).toSorted());
  expect(faultsOf(timeline)).toEqual([]);
  expect(timeline.entries.flatMap(({ waits_for = [] }) => waits_for)).toEqual([]);
  const text = JSON.stringify(timeline);
  const { name, line1, postal_code } = exampleOrder.shipping_address;
  for (const secret of [
    "tok_",
    exampleOrder.customer.email,
    `"${name}"`,
    line1,
    postal_code,
    "Freight",
    REVIEWER,
    NOTE,
  ])
    expect(text).not.toContain(secret);
  return timeline;
}

const subjectsOf = (entries: readonly TimelineEntryView[], id: string) =>
  entries.map(({ subject }) => subject.replace(`.${id}`, ""));

/** What came of nothing that is stored, but of somebody's wish. */
const causeless = ({ entries }: TimelineView) =>
  entries.filter(
    ({ cause, kind }) => cause === undefined && kind !== "dead_letter" && kind !== "timer_fired",
  );

describe("an order's timeline", { timeout: 90_000 }, () => {
  it("tells all of an order that is completed, each message of it after the one that it came of", async () => {
    const id = await shop.place();
    const timeline = await wholeTimelineOf(id);
    const { entries, trace_id } = timeline;
    expect(subjectsOf(causeless(timeline), id)).toEqual(["order.created"]);
    expect(entries[0]).toMatchObject({ kind: "event", after_ms: 0, decision: 1 });
    expect(entries.filter(({ kind }) => kind === "transition").map(({ says }) => says)).toEqual(
      expect.arrayContaining([
        "created → reserving, by order.created",
        "charging → fulfilling, by payment.captured",
        "fulfilling → completed, by fulfillment.shipped",
      ]),
    );
    expect(entries.filter(({ kind }) => kind === "mail")).toHaveLength(2);
    expect(entries.filter(({ delivery }) => delivery !== undefined)).toEqual([]);
    for (const { traceparent } of entries) expect(traceparent).toContain(trace_id);
    expect(timeline.trace_url).toBe(`http://127.0.0.1:16686/trace/${trace_id}`);

    // What the coordinator did about the order's creation is one decision.
    const begun = entries.filter(
      ({ cause }) => cause?.stream === "ORDER" && cause.sequence === entries[0]?.sequence,
    );
    const coordinators = begun.filter(({ service }) => service === "coordinator");
    expect(new Set(coordinators.map(({ decision }) => decision)).size).toBe(1);
    expect(coordinators.map(({ kind }) => kind)).toEqual(["transition", "command", "command"]);
  });

  it("tells how often a flaky provider was asked, and the try at which it let the order go on", async () => {
    const id = await shop.place({ payment_token: "tok_flaky" });
    const { entries } = await wholeTimelineOf(id);
    const later = entries.filter(({ delivery }) => delivery !== undefined);
    const charge = "checkout_charge_payment";
    expect(later.map(({ subject, delivery }) => [subject.replace(`.${id}`, ""), delivery])).toEqual([
      [`payment.waiting.${charge}`, 2],
      ["payment.payment", 3],
      ["payment.captured", 3],
      [`payment.waiting.${charge}`, 3],
    ]);
    const says = entries
      .filter(({ subject }) => subject.startsWith("payment.waiting."))
      .map((entry) => entry.says);
    expect(says).toEqual([
      expect.stringMatching(/^checkout.charge_payment was tried 1 time, and is again at /),
      expect.stringMatching(/^checkout.charge_payment was tried 2 times, and is again at /),
      "checkout.charge_payment waits no more",
    ]);
    expect(entries.find(({ subject }) => subject.startsWith("payment.payment."))?.delivery).toBeUndefined();
  });

  it("tells timers that are set, have fired and were cancelled, and who decided what", async () => {
    const approved = await shop.place({ shipping_address: flaggedAddress });
    await shop.reaches(approved, "in_review");
    const open = await timelineOf(approved);
    const timers = open.entries.filter(({ kind }) => kind === "timer_set");
    expect(subjectsOf(timers, approved)).toContain("fraud.review_timer");
    for (const { timer_at } of timers) expect(timer_at).toMatch(/^2\d{3}-.*Z$/);
    await shop.call("fraud", `/reviews/${approved}/decision`, {
      method: "POST",
      headers: operator,
      body: { decision: "approve", reviewer: REVIEWER, note: NOTE },
    });

    const decided = await wholeTimelineOf(approved);
    const asked = subjectsOf(causeless(decided), approved);
    expect(asked).toEqual(["order.created", "fraud.screening", "fraud.review_approved"]);
    expect(subjectsOf(decided.entries, approved)).not.toContain("fraud.review_timer");
    const closed = decided.entries.find(({ says }) => says === "review approved");
    expect(closed).toMatchObject({ timer_cancelled: true });
    expect(closed?.details).toBeUndefined();
    const told = JSON.parse((await ops(approved, "--json")).out) as TimelineView;
    expect(told.entries.find(({ says }) => says === "review approved")?.details).toMatchObject({
      reviewer: REVIEWER,
      note: NOTE,
    });

    const { entries } = await wholeTimelineOf(expired);
    const due = entries.find(({ subject }) => subject.startsWith("fraud.review_due."));
    expect(due).toMatchObject({ kind: "timer_fired" });
    expect(due?.cause).toBeUndefined();
    const ended = entries.filter(
      ({ cause }) => cause?.stream === "FRAUD" && cause.sequence === due?.sequence,
    );
    expect(subjectsOf(ended, expired)).toEqual(["fraud.screening", "fraud.review_expired"]);
  });

  it("tells how an order is undone whose capture came too late", async () => {
    const id = late;
    await shop.ends(id);
    await until("the capture to be refunded", async () => {
      const { body } = await shop.call<{ status: string }>("payment", `/payments/${id}`);
      return body.status === "refunded" || body.status === "voided";
    });
    const { entries } = await wholeTimelineOf(id);
    const subjects = subjectsOf(entries, id);
    const steps = [
      "checkout.deadline_passed",
      "checkout.refund_payment",
      "checkout.release_stock",
      "checkout.cancelled",
    ];
    expect(
      subjects.filter((subject) => steps.includes(subject)).filter((s, i, all) => all.indexOf(s) === i),
    ).toEqual(steps);
    expect(entries.at(subjects.lastIndexOf("checkout.cancelled"))?.says).toBe(
      "the order is cancelled: timed_out",
    );
  });

  it("tells who has not got a message yet, and what became of one that was parked", async () => {
    await shop.shop.stop("inventory");
    const id = await shop.place();
    await shop.reaches(id, "reserving");
    const waiting = (await timelineOf(id)).entries.find(({ subject }) =>
      subject.startsWith("checkout.reserve_stock."),
    );
    expect(waiting?.waits_for).toEqual([
      expect.objectContaining({ service: "inventory", progress: "waiting" }),
    ]);
    expect((await ops(id)).out).toContain(`waits for inventory: CHECKOUT:${waiting?.sequence}\n`);

    // A state that nobody can read: whoever needs it, fails.
    const { seq } = await jetstream(streams.connection).publish(
      `inventory.reservation.${id}`,
      new Uint8Array([255, 255]),
    );
    await shop.shop.start("inventory");
    const letter = `inventory.inventory.CHECKOUT.${waiting?.sequence}`;
    const parked = await until(
      "the command to be parked",
      async () => {
        const { entries } = await timelineOf(id);
        return entries.find(({ dead_letter }) => dead_letter?.id === letter);
      },
      { timeoutMs: 45_000 },
    );
    expect(parked).toMatchObject({ kind: "dead_letter", dead_letter: { status: "parked", deliveries: 5 } });
    expect(parked.details).toBeUndefined();
    expect(
      (await timelineOf(id)).entries.find(
        ({ sequence, stream }) => stream === "INVENTORY" && sequence === seq,
      )?.says,
    ).toBe("cannot be decoded as shop.inventory.v1.Reservation");
    expect((await ops(id)).out).toMatch(/parked|gave checkout\.reserve_stock .* up.*error: /);

    await streams.jsm.streams.deleteMessage("INVENTORY", seq);
    expect((await redriveDeadLetter(streams, letter, { by: "ada" })).outcome).toBe("redriven");
    const { entries } = await wholeTimelineOf(id);
    const letters = entries.filter(({ dead_letter }) => dead_letter !== undefined);
    expect(letters.map(({ dead_letter }) => dead_letter?.status)).toEqual(["parked", "redriven", "handled"]);
    const reserved = entries.find(({ subject }) => subject.startsWith("inventory.stock_reserved."));
    expect(reserved).toMatchObject({
      cause: { stream: "CHECKOUT", sequence: waiting?.sequence },
      delivery: 2,
    });
    const statuses = entries.map(({ dead_letter, subject }) => dead_letter?.status ?? subject);
    expect(statuses.indexOf("redriven")).toBeLessThan(statuses.indexOf(reserved?.subject ?? ""));
  });

  it("is 404 for an order that nobody placed, whatever its id looks like", async () => {
    for (const id of ["ord_none", "*", "%3E", "a.b"]) {
      const { status, body } = await shop.call("order", `/orders/${id}/timeline`);
      expect([id, status, body.type]).toEqual([id, 404, "urn:problem:shop:unknown-order"]);
    }
  });
});

describe("ops order", () => {
  it("says the same as GET /orders/{id}/timeline, where there is nothing that only operators may know", async () => {
    const id = await shop.place();
    await shop.ends(id);
    await streams.quiet();
    const told = await ops(id, "--json");
    expect(told.code).toBe(0);
    expect(await timelineOf(id)).toEqual(JSON.parse(told.out));
  });

  it("prints a line for each message, those of a decision side by side, without colours where there is no terminal", async () => {
    const id = await shop.place();
    const { entries } = await wholeTimelineOf(id);
    const { code, out } = await ops(id);
    expect(code).toBe(0);
    expect(out).not.toContain("\x1b");
    const places = [...out.matchAll(/^\d\d:\d\d:\d\d\.\d{3} +\+\d+ +[┌│└]? +(\w+:\d+) /gm)].map(
      ([, place]) => place,
    );
    expect(places).toEqual(entries.map(({ stream, sequence }) => `${stream}:${sequence}`));
    expect(out).toMatch(
      /┌ +CHECKOUT:\d+ +state +checkout\.state: created → reserving, by order\.created .*of ORDER:\d+/,
    );
    expect(out).toMatch(/└ +CHECKOUT:\d+ +command +checkout\.screen_order: /);
    expect(out).toContain("\nnobody has to deal with any of it\n");
  });

  it("has colours on a terminal, and says the same", async () => {
    const id = await shop.place();
    await wholeTimelineOf(id);
    const terminal = { isTTY: true, getColorDepth: () => 4, hasColors: () => true };
    const { out } = await opsOn(terminal, id);
    expect(out).toContain("\x1b[");
    expect(stripVTControlCharacters(out)).toBe((await ops(id)).out);
  });

  it("ends with 1 if there is no such order, and with 2 if it is called wrongly", async () => {
    expect(await ops("ord_none")).toEqual({ code: 1, out: "", err: 'There is no order "ord_none"\n' });
    for (const args of [[], ["*"], ["ord_1", "ord_2"], ["ord_1", "--yaml"]]) {
      expect(await ops(...args)).toMatchObject({ code: 2, out: "" });
    }
  });

  it("is what docs/operations.md shows", async () => {
    const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
    const [, section = ""] = /^## One order's story\n([\s\S]*?)^## /m.exec(page) ?? [];
    const commands = [
      ...section.matchAll(/^(?:npm run ops -- order (.*)|curl -s http:\/\/127\.0\.0\.1:8080(\S+))$/gm),
    ];
    expect(commands).toHaveLength(3);
    const id = await shop.place();
    for (const [, command, path] of commands) {
      if (command !== undefined)
        expect((await ops(...command.replace("$ORDER", id).split(" "))).code).toBe(0);
      if (path !== undefined) expect((await shop.call("order", path.replace("$ORDER", id))).status).toBe(200);
    }
  });
});
